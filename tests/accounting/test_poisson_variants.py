import math

import numpy as np
import pytest

from dpcxr_core.accounting import poisson
from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.accounting.poisson_variants import (
    epsilon_poisson_at_least,
    epsilon_poisson_replace_one,
    epsilon_truncated_poisson,
    epsilon_truncated_poisson_at_least,
    rate_after_truncation,
)
from dpcxr_core.config import PrivacySpecification
from dpcxr_core.privacy.sampling import truncated_poisson_draw

DEMO = (0.8188, 256 / 2400, 48, 1e-5)


@pytest.mark.parametrize("values", [DEMO, (1.8, 1 / 84, 2016, 6e-6), (5.0, 0.01, 100, 1e-5)])
def test_lower_bound_is_close_below_the_claim(values):
    claim = epsilon_pld(*values)
    assert 0 <= claim - epsilon_poisson_at_least(*values) < 0.03 * claim + 0.01


def test_lower_bound_out_of_reach_is_not_a_number(monkeypatch):
    monkeypatch.setattr(poisson, "_LARGEST_PRV_GRID", 10)
    assert math.isnan(epsilon_poisson_at_least(*DEMO))


def test_replacing_without_sampling_is_a_gaussian_with_half_the_noise():
    exact = epsilon_gaussian(2.5, 10, 1e-5)
    assert 0 <= epsilon_poisson_replace_one(5.0, 1.0, 10, 1e-5) - exact < 1e-3 * exact


def test_replacing_costs_more_than_removing_as_other_code_found():
    # 2.51 for this project's setting, by dp_accounting on another grid
    assert epsilon_poisson_replace_one(1.8, 1 / 84, 24 * 84, 6e-6) == pytest.approx(2.51, rel=0.005)


def test_a_tight_cap_costs_and_a_loose_one_is_free():
    def epsilon(cap):
        return epsilon_truncated_poisson(*DEMO, n_units=2400, largest_batch=cap)

    plain = epsilon_pld(*DEMO)
    epsilons = [epsilon(cap) for cap in (256, 360)]
    assert epsilons == sorted(epsilons, reverse=True)
    assert epsilons[0] > 1.3 * plain
    assert epsilons[-1] == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("cap", [256])
def test_bounds_of_a_capped_batch_keep_their_order(cap):
    capped = {"n_units": 2400, "largest_batch": cap}
    low = epsilon_truncated_poisson_at_least(*DEMO, **capped)
    assert 0.9 * epsilon_pld(*DEMO) < low <= epsilon_truncated_poisson(*DEMO, **capped)


def test_rate_after_truncation_is_that_of_the_sampler():
    specification = PrivacySpecification(
        sample_rate=0.3,
        n_steps=1,
        expected_batch_size=6,
        max_grad_norm=1.0,
        noise_multiplier=1.0,
        delta=1e-5,
        sampler="truncated_poisson",
        largest_batch=7,
    )
    rng = np.random.default_rng(0)
    drawn = np.array([0 in truncated_poisson_draw(specification, 20, rng) for _ in range(20_000)])

    def z(rate):
        return abs(drawn.mean() - rate) / math.sqrt(rate * (1 - rate) / len(drawn))

    assert z(rate_after_truncation(0.3, 20, 7)) < 5
    assert z(0.3) > 5
