from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import OptimisationChoice, OrdinaryBatches, PrivacySpecification, RunConfig
from dpcxr_core.privacy.sampling import poisson_draw
from dpcxr_core.privacy.streams import seeded_streams
from dpcxr_core.privacy.units import images_of, units_of
from dpcxr_core.training.ranks import Ranks
from dpcxr_core.training.steps import ordinary_batches, private_batches, shuffled_batches

STREAMS = seeded_streams(0)
PRIVACY = PrivacySpecification(
    sample_rate=0.3,
    n_steps=6,
    expected_batch_size=6,
    max_grad_norm=0.5,
    noise_multiplier=0.7,
    delta=1e-3,
    privacy_unit="patient",
    max_images_per_patient=3,
)
CONFIG = RunConfig(
    dataset="toy",
    init_name="convnext_mini.random",
    head="reset",
    optimisation=OptimisationChoice(optimizer="sgd", learning_rate=0.1),
    privacy=PRIVACY,
    target_epsilon=9.0,
    max_shift=2,
    augmentation_multiplicity=2,
)
ORDINARY = replace(CONFIG, privacy=None, target_epsilon=None, ordinary=OrdinaryBatches(n_steps=7, batch_size=4))
PATIENTS = np.random.default_rng(0).integers(0, 20, 50)
UNITS = units_of(PRIVACY, PATIENTS)


def _steps(batches) -> dict[int, list]:
    return {step: list(of_step) for step, of_step in groupby(batches, key=lambda batch: batch.step)}


def _rows(batches) -> np.ndarray:
    """Image and shift of every row, in order."""
    return np.concatenate([np.column_stack([batch.images, batch.shifts]) for batch in batches])


@settings(derandomize=True, deadline=None)
@given(size=st.integers(6, 60), world_size=st.integers(1, 9))
def test_physical_batches_and_ranks_cut_the_same_units_and_shifts_in_pieces(size, world_size):
    at_once = replace(CONFIG, physical_batch_size=10**6)
    whole = list(private_batches(at_once, UNITS, STREAMS, Ranks()))
    assert [batch.step for batch in whole] == list(range(PRIVACY.n_steps))
    config = replace(CONFIG, physical_batch_size=size)
    ranks = [Ranks(rank, world_size) for rank in range(world_size)]
    pieces = [_steps(private_batches(config, UNITS, STREAMS, rank)) for rank in ranks]
    for step in range(PRIVACY.n_steps):
        together = [batch for of_rank in pieces for batch in of_rank[step]]
        np.testing.assert_array_equal(_rows(together), _rows([whole[step]]))
        counts = np.concatenate([batch.rows_per_unit for batch in together])
        np.testing.assert_array_equal(counts, whole[step].rows_per_unit)
        for of_rank in pieces:
            assert [batch.is_last for batch in of_rank[step]] == [False] * (len(of_rank[step]) - 1) + [True]
            assert all(len(batch.images) for batch in of_rank[step][:-1])
            # no piece could have taken the first unit of the next
            for one, following in zip(of_rank[step], of_rank[step][1:], strict=False):
                assert len(one.images) <= size < len(one.images) + following.rows_per_unit[0]
            assert len(of_rank[step][-1].images) <= size


def test_each_step_holds_the_drawn_units_with_their_images_copied_and_averaged():
    for step, (batch,) in _steps(private_batches(CONFIG, UNITS, STREAMS, Ranks())).items():
        drawn = poisson_draw(PRIVACY, UNITS.n_units, STREAMS.at("draws", step))
        images, counts = images_of(UNITS, drawn, PRIVACY, STREAMS.at("images", step))
        np.testing.assert_array_equal(batch.images[::2], images)
        np.testing.assert_array_equal(batch.images[1::2], images)
        np.testing.assert_array_equal(batch.rows_per_unit, 2 * counts)
        assert np.abs(batch.shifts).max() == CONFIG.max_shift
        assert (batch.shifts[::2] != batch.shifts[1::2]).any()
        sums = np.add.reduceat(batch.weights, np.cumsum(batch.rows_per_unit) - batch.rows_per_unit)
        np.testing.assert_allclose(sums, 1, rtol=1e-6)
        assert batch.weights.dtype == np.float32
        assert len(set(batch.weights[: batch.rows_per_unit[0]])) == 1


def test_ranks_share_rows_evenly_though_large_units_come_last():
    units = units_of(PRIVACY, np.repeat(np.arange(400), [1] * 200 + [3] * 200))
    config = replace(CONFIG, privacy=replace(PRIVACY, sample_rate=1.0), physical_batch_size=10**6)
    shares = [len(next(private_batches(config, units, STREAMS, Ranks(rank, 4))).images) for rank in range(4)]
    assert sum(shares) == 2 * 800
    assert max(shares) - min(shares) <= 2 * 6


@pytest.mark.parametrize("ranks", [Ranks(), Ranks(1, 2)])
def test_step_without_units_has_one_batch_without_rows(ranks):
    rarely = replace(CONFIG, privacy=replace(PRIVACY, sample_rate=1e-9))
    steps = _steps(private_batches(rarely, UNITS, STREAMS, ranks))
    assert list(steps) == list(range(PRIVACY.n_steps))
    for (batch,) in steps.values():
        assert len(batch.images) == len(batch.rows_per_unit) == len(batch.weights) == 0
        assert batch.shifts.shape == (0, 2)
        assert batch.is_last


@pytest.mark.parametrize("first_step", [1, 3, 5])
def test_any_step_is_reached_without_those_before(first_step):
    def private(**first):
        return _steps(private_batches(CONFIG, UNITS, STREAMS, Ranks(), **first))

    def ordinary(**first):
        return _steps(ordinary_batches(ORDINARY, 14, STREAMS, Ranks(), **first))

    for batches in (private, ordinary):
        whole, rest = batches(), batches(first_step=first_step)
        assert list(rest) == list(whole)[first_step:]
        for step, of_step in rest.items():
            np.testing.assert_array_equal(_rows(of_step), _rows(whole[step]))


def test_ordinary_batches_hold_every_image_once_a_pass_each_pass_in_a_new_order():
    batches = list(shuffled_batches(OrdinaryBatches(n_steps=6, batch_size=4), 14, STREAMS))
    assert [len(batch) for batch in batches] == [4] * 6
    first, second = np.concatenate(batches[:3]), np.concatenate(batches[3:])
    for order in (first, second):
        assert len(set(order.tolist()) & set(range(14))) == 12
    assert not np.array_equal(first, second)
    (all_of_them,) = shuffled_batches(OrdinaryBatches(n_steps=1, batch_size=99), 5, STREAMS)
    assert sorted(all_of_them.tolist()) == list(range(5))


def test_ranks_share_an_ordinary_batch():
    whole = _steps(ordinary_batches(ORDINARY, 14, STREAMS, Ranks()))
    shares = [_steps(ordinary_batches(ORDINARY, 14, STREAMS, Ranks(rank, 3))) for rank in range(3)]
    for step in range(7):
        np.testing.assert_array_equal(_rows([b for share in shares for b in share[step]]), _rows(whole[step]))
