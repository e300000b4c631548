from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.privacy.sampling import draw_units, poisson_draw
from dpcxr_core.privacy.streams import seeded_streams


def _specification(sample_rate: float) -> PrivacySpecification:
    return PrivacySpecification(
        sample_rate=sample_rate,
        n_steps=1,
        expected_batch_size=1,
        max_grad_norm=1.0,
        noise_multiplier=1.0,
        delta=1e-5,
    )


def _draws(sample_rate: float, n_units: int, n_draws: int, seed: int = 0) -> list[np.ndarray]:
    """One draw a step, as training takes them."""
    streams = seeded_streams(seed)
    return [poisson_draw(_specification(sample_rate), n_units, streams.at("draws", step)) for step in range(n_draws)]


@settings(derandomize=True, deadline=None)
@given(st.floats(1e-6, 1.0), st.integers(1, 200), st.integers(0, 1000))
def test_draw_holds_known_units_in_order_and_none_twice(rate, n_units, seed):
    draw = poisson_draw(_specification(rate), n_units, np.random.default_rng(seed))
    assert draw.dtype == np.int64
    assert (np.diff(draw) > 0).all()
    assert ((draw >= 0) & (draw < n_units)).all()


def test_draw_may_be_empty_and_at_rate_one_holds_every_unit():
    assert min(len(draw) for draw in _draws(1e-4, 3, 50)) == 0
    for draw in _draws(1.0, 7, 3):
        np.testing.assert_array_equal(draw, np.arange(7))


def test_draws_repeat_with_the_seed_and_differ_without():
    first, again, other = (np.concatenate(_draws(0.1, 100, 20, seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def _z_of_membership(draws: list[np.ndarray], rate: float, n_units: int) -> float:
    """Largest z of how often each unit, and each pair of units, was drawn, against independent coins."""
    inside = np.zeros((len(draws), n_units), bool)
    for step, draw in enumerate(draws):
        inside[step, draw] = True
    z = []
    for size in (1, 2):
        for units in combinations(range(n_units), size):
            chance = rate**size
            found = inside[:, units].all(1).sum()
            z.append((found - len(draws) * chance) / np.sqrt(len(draws) * chance * (1 - chance)))
    return float(np.abs(z).max())


@pytest.mark.parametrize(("n_units", "rate"), [(4, 0.5), (12, 0.2)])
def test_units_enter_independently_which_in_equal_sized_batches_they_do_not(n_units, rate):
    n_draws = 6000
    assert _z_of_membership(_draws(rate, n_units, n_draws), rate, n_units) < 5
    rng = np.random.default_rng(0)
    equal_sized = [rng.permutation(n_units)[: round(rate * n_units)] for _ in range(n_draws)]
    assert _z_of_membership(equal_sized, rate, n_units) > 5


def _z_of_sizes(sizes: np.ndarray, rate: float, n_units: int) -> dict[str, float]:
    expected, variance = n_units * rate, n_units * rate * (1 - rate)
    excess = (1 - 6 * rate * (1 - rate)) / variance  # of the fourth moment of a binomial number
    return {
        "mean": float((sizes.mean() - expected) / np.sqrt(variance / len(sizes))),
        "variance": float((sizes.var() / variance - 1) / np.sqrt((2 + excess) / len(sizes))),
    }


def test_sizes_are_binomial_which_fixed_sizes_and_a_rate_slightly_off_are_not():
    n_units, rate, n_draws = 1000, 0.03, 4000
    sizes = np.array([len(draw) for draw in _draws(rate, n_units, n_draws)])
    assert max(map(abs, _z_of_sizes(sizes, rate, n_units).values())) < 5
    assert abs(_z_of_sizes(np.full(n_draws, 30), rate, n_units)["variance"]) > 5
    too_many = np.array([len(draw) for draw in _draws(rate + 0.001, n_units, n_draws)])
    assert abs(_z_of_sizes(too_many, rate, n_units)["mean"]) > 5


def test_no_units_are_refused():
    with pytest.raises(UserError, match="n_units must be at least 1; got 0"):
        draw_units(_specification(0.1), 0, seeded_streams(0), 0)
