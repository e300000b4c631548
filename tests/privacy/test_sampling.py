import numpy as np
import pytest

from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.privacy.sampling import poisson_draws


def _specification(sample_rate: float, n_steps: int) -> PrivacySpecification:
    return PrivacySpecification(
        sample_rate=sample_rate,
        n_steps=n_steps,
        expected_batch_size=1,
        max_grad_norm=1.0,
        noise_multiplier=1.0,
        delta=1e-5,
    )


def test_draws_are_as_many_as_the_steps_even_when_empty():
    draws = list(poisson_draws(_specification(1e-4, 50), 3, np.random.default_rng(0)))
    assert len(draws) == 50
    assert all(draw.dtype == np.int64 for draw in draws)
    assert min(len(draw) for draw in draws) == 0


def test_draws_at_rate_one_hold_every_unit_once():
    for draw in poisson_draws(_specification(1.0, 3), 7, np.random.default_rng(0)):
        np.testing.assert_array_equal(draw, np.arange(7))


def test_draws_hold_no_unit_twice_and_only_known_units():
    for draw in poisson_draws(_specification(0.4, 100), 20, np.random.default_rng(1)):
        assert len(np.unique(draw)) == len(draw)
        assert ((draw >= 0) & (draw < 20)).all()


def test_draws_repeat_with_the_seed_and_differ_without():
    first, again, other = (
        np.concatenate(list(poisson_draws(_specification(0.1, 20), 100, np.random.default_rng(seed))))
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def _z_of_pairs(draws: list[np.ndarray], rate: float) -> float:
    """How often two given units meet, against independence, as z."""
    meetings = sum({0, 1} <= set(draw.tolist()) for draw in draws)
    expected = rate**2
    return float((meetings - len(draws) * expected) / np.sqrt(len(draws) * expected * (1 - expected)))


def test_two_units_enter_independently_which_equal_sized_batches_do_not():
    n_units, rate, n_steps = 4, 0.5, 4000
    rng = np.random.default_rng(0)
    poisson = list(poisson_draws(_specification(rate, n_steps), n_units, rng))
    equal_sized = [rng.permutation(n_units)[:2] for _ in range(n_steps)]
    assert abs(_z_of_pairs(poisson, rate)) < 5
    assert abs(_z_of_pairs(equal_sized, rate)) > 5


def test_no_units_are_refused_before_the_first_draw():
    with pytest.raises(UserError, match="n_units"):
        poisson_draws(_specification(0.1, 1), 0, np.random.default_rng(0))
