import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.shuffling import epsilon_one_batch_a_pass, epsilon_shuffled_at_least
from dpcxr_core.config import UserError

CHESTXRAY14 = 86_524
# (batch size, passes, noise multiplier): lower bound and upper bounds found by other code for this project
GOLDEN = {
    (128, 50, 0.55): (106.6, 138.0, 442.0),
    (128, 50, 1.25): (3.52, 40.0, 113.0),
    (1024, 24, 0.7): (43.0, 54.4, 158.0),
    (1024, 24, 1.8): (2.21, 15.0, 37.9),
}


@pytest.mark.parametrize("setting", GOLDEN)
def test_bounds_match_those_of_other_code(setting):
    batch_size, n_passes, noise = setting
    n_batches = CHESTXRAY14 // batch_size
    values = (noise, 1 / n_batches, n_passes * n_batches, 6e-6)
    found = (
        epsilon_shuffled_at_least(*values),
        epsilon_one_batch_a_pass(*values),
        epsilon_one_batch_a_pass(*values, sensitivity=2.0),
    )
    assert found == pytest.approx(GOLDEN[setting], rel=0.006)


@pytest.mark.parametrize(("noise", "n_steps"), [(0.8, 1), (2.0, 5), (5.0, 100)])
def test_one_batch_a_pass_is_the_gaussian_of_the_closed_form(noise, n_steps):
    exact = epsilon_gaussian(noise, n_steps, 1e-5)
    assert epsilon_one_batch_a_pass(noise, 1.0, n_steps, 1e-5) == exact
    assert 0 <= exact - epsilon_shuffled_at_least(noise, 1.0, n_steps, 1e-5) < 0.003 * exact
    replaced = epsilon_gaussian(noise / 2, n_steps, 1e-5)
    low = epsilon_shuffled_at_least(noise, 1.0, n_steps, 1e-5, sensitivity=2.0)
    assert 0 <= replaced - low < 0.003 * replaced


def _exact_delta_of_two_batches(epsilon, noise, shifts):
    """Hockey-stick divergence of both whole outcomes of a pass of two steps, by integration over the plane."""
    axis = np.linspace(-9 * noise, 2 + 9 * noise, 1500)
    x, y = np.meshgrid(axis, axis)
    densities = [
        sum(np.exp(-((x - s) ** 2 + (y - t) ** 2) / (2 * noise**2)) for s, t in ((shift, 0), (0, shift)))
        for shift in shifts
    ]
    first, second = (density / (4 * np.pi * noise**2) for density in densities)
    return np.maximum(first - np.exp(epsilon) * second, 0).sum() * (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("sensitivity", [1.0, 2.0])
@pytest.mark.parametrize("noise", [0.7, 1.5])
def test_two_batches_are_bounded_from_below_and_closely_where_the_largest_coordinate_tells_all(noise, sensitivity):
    delta, other = 1e-4, 2 - sensitivity
    epsilon = epsilon_shuffled_at_least(noise, 0.5, 2, delta, sensitivity=sensitivity)
    exact = [_exact_delta_of_two_batches(epsilon, noise, shifts) for shifts in ((2, other), (other, 2))]
    assert max(exact) >= delta  # at a smaller epsilon the mechanism certainly fails more often than delta
    assert max(exact) < 5 * delta


@settings(derandomize=True, deadline=None, max_examples=4)
@given(st.floats(0.4, 4.0), st.floats(0.01, 1.0), st.integers(1, 60))
def test_lower_bound_stays_below_the_upper_one_and_falls_with_noise(noise, rate, n_steps):
    low = epsilon_shuffled_at_least(noise, rate, n_steps, 1e-5)
    low_of_replacing = epsilon_shuffled_at_least(noise, rate, n_steps, 1e-5, sensitivity=2.0)
    assert low <= low_of_replacing <= epsilon_one_batch_a_pass(noise, rate, n_steps, 1e-5, sensitivity=2.0)
    assert 0 <= low <= epsilon_one_batch_a_pass(noise, rate, n_steps, 1e-5)
    assert epsilon_shuffled_at_least(1.2 * noise, rate, n_steps, 1e-5) <= low


def test_part_of_a_pass_costs_less_than_all_of_it():
    """Seven batches a pass, of which the last pass shows none, some or all."""
    epsilons = [epsilon_shuffled_at_least(0.8, 1 / 7, n_steps, 1e-5) for n_steps in (14, 16, 20, 21)]
    assert epsilons == sorted(epsilons)
    assert epsilons[0] < epsilons[1] < epsilons[2] < epsilons[3]


def test_senseless_values_are_refused():
    for bound in (epsilon_shuffled_at_least, epsilon_one_batch_a_pass):
        with pytest.raises(UserError, match="noise_multiplier"):
            bound(0.0, 0.1, 10, 1e-5)
