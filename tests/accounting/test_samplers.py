from dataclasses import replace

import pytest

from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.accounting.samplers import guarantees_of, with_every_sampler
from dpcxr_core.config import SAMPLERS, PrivacySpecification, UserError

POISSON = PrivacySpecification(
    sample_rate=256 / 2400,
    n_steps=48,
    expected_batch_size=256,
    max_grad_norm=0.5,
    noise_multiplier=0.8188,
    delta=1e-5,
)


@pytest.fixture(scope="module")
def guarantees():
    every = with_every_sampler(POISSON)
    return {
        (row.sampler, row.neighbouring_relation): row for each in every.values() for row in guarantees_of(each, 2400)
    }


def test_every_sampler_is_there_once_with_all_else_alike():
    every = with_every_sampler(POISSON, deviations=2)
    assert {name: each.sampler for name, each in every.items()} == {name: name for name in SAMPLERS}
    assert every["truncated_poisson"].largest_batch == 256 + 32
    assert {replace(each, sampler="poisson", largest_batch=None) for each in every.values()} == {POISSON}


def test_every_sampler_has_a_relation_and_poisson_and_shuffled_a_second(guarantees):
    assert set(guarantees) == {
        ("poisson", "add_or_remove_one"),
        ("poisson", "replace_one"),
        ("truncated_poisson", "zero_out_one"),
        ("fixed_size", "replace_one"),
        ("shuffled", "zero_out_one"),
        ("shuffled", "replace_one"),
        ("balls_and_bins", "add_or_remove_one"),
    }


def test_lower_bounds_stay_below_upper_ones(guarantees):
    for row in guarantees.values():
        assert 0 < row.epsilon_low <= row.epsilon, row


def test_poisson_claims_what_its_certificate_does_and_the_others_name_it_without_claiming_it(guarantees):
    claim = epsilon_pld(0.8188, 256 / 2400, 48, 1e-5)
    assert guarantees["poisson", "add_or_remove_one"].epsilon == claim
    assert {row.epsilon_if_poisson for row in guarantees.values()} == {claim}


def test_shuffled_batches_certainly_cost_more_than_poisson_here_and_balls_and_bins_certainly_less(guarantees):
    claim = guarantees["poisson", "add_or_remove_one"].epsilon
    assert guarantees["shuffled", "zero_out_one"].epsilon_low > 1.5 * claim
    assert guarantees["balls_and_bins", "add_or_remove_one"].epsilon < claim


def test_replacing_a_unit_costs_more_than_zeroing_it(guarantees):
    assert guarantees["shuffled", "replace_one"].epsilon > guarantees["shuffled", "zero_out_one"].epsilon
    assert guarantees["poisson", "replace_one"].epsilon > guarantees["poisson", "add_or_remove_one"].epsilon


@pytest.mark.parametrize("changes", [{"clipping": "none"}, {"noise_multiplier": 0}])
def test_no_sampler_guarantees_anything_without_clipping_and_noise(changes):
    with pytest.raises(UserError, match="no sampler guarantees anything"):
        guarantees_of(replace(POISSON, **changes), 2400)


def test_a_training_set_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="2300 images is not the expected batch size of 256"):
        guarantees_of(POISSON, 2300)
