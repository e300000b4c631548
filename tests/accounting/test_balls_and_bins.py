import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from dpcxr_core.accounting import balls_and_bins
from dpcxr_core.accounting.balls_and_bins import epsilon_balls_and_bins, epsilon_balls_and_bins_at_least
from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.config import UserError


@pytest.fixture(autouse=True, scope="module")
def _coarse_grids():
    """Bounds hold on any grid; coarse ones are quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(balls_and_bins, "_N_POINTS", 2_000)
        patch.setattr(balls_and_bins, "_N_CELLS", 800)
        yield


@pytest.mark.parametrize(("noise", "n_steps"), [(0.8, 1), (2.0, 5), (5.0, 100)])
def test_one_step_a_pass_is_the_gaussian_of_the_closed_form(noise, n_steps):
    exact = epsilon_gaussian(noise, n_steps, 1e-5)
    assert 0 <= epsilon_balls_and_bins(noise, 1.0, n_steps, 1e-5) - exact < 2e-3 * exact
    assert 0 <= exact - epsilon_balls_and_bins_at_least(noise, 1.0, n_steps, 1e-5) < 6e-3 * exact


def _exact_deltas(epsilon, noise, chance_none):
    """Both directions of one pass of two steps by integration over the plane; the unit may be in neither."""
    axis = np.linspace(-9 * noise, 1 + 9 * noise, 1500)
    x, y = np.meshgrid(axis, axis)
    without = np.exp(-(x**2 + y**2) / (2 * noise**2)) / (2 * np.pi * noise**2)
    ratio = (np.exp((x - 0.5) / noise**2) + np.exp((y - 0.5) / noise**2)) / 2
    with_unit = without * ((1 - chance_none) * ratio + chance_none)
    return [
        np.maximum(first - np.exp(epsilon) * second, 0).sum() * (axis[1] - axis[0]) ** 2
        for first, second in ((with_unit, without), (without, with_unit))
    ]


@pytest.mark.parametrize(("noise", "rate"), [(0.6, 0.5), (1.5, 0.5), (0.9, 0.4)])
def test_bounds_of_two_steps_hold_the_integral_between_them(noise, rate):
    delta = 1e-4
    upper = epsilon_balls_and_bins(noise, rate, 2, delta)
    lower = epsilon_balls_and_bins_at_least(noise, rate, 2, delta)
    # the sum over the plane is itself right to some 1e-4
    assert max(_exact_deltas(upper, noise, 1 - 2 * rate)) <= delta * (1 + 3e-4)
    assert max(_exact_deltas(lower, noise, 1 - 2 * rate)) >= delta * (1 - 3e-4)
    assert upper - lower < 0.01 * upper


@pytest.mark.parametrize(
    ("n_bins", "n_passes", "noise", "estimate"),
    [(84, 24, 1.8, 1.26), (31, 32, 1.2, 4.54)],
)
def test_bounds_are_close_to_a_simulation_by_other_code(n_bins, n_passes, noise, estimate):
    """The estimates rest on some 1e5 samples at a delta of 6e-6, so a few percent is all they can promise."""
    values = (noise, 1 / n_bins, n_passes * n_bins, 6e-6)
    upper, lower = epsilon_balls_and_bins(*values), epsilon_balls_and_bins_at_least(*values)
    assert 0 < upper - lower < 0.02 * upper
    assert upper == pytest.approx(estimate, rel=0.03)


def _simulated(epsilon, noise, n_bins, n_passes, n_samples, rng):
    """Numbers in [0, 1] whose means are delta at ``epsilon``, in both directions."""
    losses = np.zeros((2, n_samples))
    for _ in range(n_passes):
        seen = noise * rng.standard_normal((n_samples, n_bins))
        losses[1] -= logsumexp((seen - 0.5) / noise**2, axis=1) - np.log(n_bins)
        seen[:, 0] += 1  # by symmetry the unit is in the first step
        losses[0] += logsumexp((seen - 0.5) / noise**2, axis=1) - np.log(n_bins)
    return np.maximum(0, -np.expm1(epsilon - losses))


def test_simulation_finds_delta_at_the_bounds_and_another_at_a_wrong_epsilon():
    noise, n_bins, n_passes, delta = 0.9, 12, 4, 0.02
    values = (noise, 1 / n_bins, n_passes * n_bins, delta)
    upper, lower = epsilon_balls_and_bins(*values), epsilon_balls_and_bins_at_least(*values)
    rng = np.random.default_rng(0)

    def z(epsilon):
        samples = _simulated(epsilon, noise, n_bins, n_passes, 40_000, rng)
        worst = samples[samples.mean(axis=1).argmax()]
        return (worst.mean() - delta) / (worst.std() / np.sqrt(len(worst)))

    assert z(upper) < 5
    assert z(lower) > -5
    assert z(0.9 * lower) > 5
    assert z(1.1 * upper) < -5


def test_a_finer_grid_only_lowers_the_upper_bound_and_raises_the_lower(monkeypatch):
    values = (0.8, 1 / 9, 48, 1e-5)
    coarse = epsilon_balls_and_bins(*values), epsilon_balls_and_bins_at_least(*values)
    monkeypatch.setattr(balls_and_bins, "_N_POINTS", 500)
    monkeypatch.setattr(balls_and_bins, "_N_CELLS", 200)
    coarser = epsilon_balls_and_bins(*values), epsilon_balls_and_bins_at_least(*values)
    assert coarser[1] < coarse[1] <= coarse[0] < coarser[0]
    assert coarser[0] - coarser[1] < 0.1 * coarse[0]


@settings(derandomize=True, deadline=None, max_examples=4)
@given(st.floats(0.4, 4.0), st.floats(0.02, 1.0), st.integers(1, 60))
def test_bounds_keep_their_order_and_fall_with_noise(noise, rate, n_steps):
    upper = epsilon_balls_and_bins(noise, rate, n_steps, 1e-5)
    assert 0 <= epsilon_balls_and_bins_at_least(noise, rate, n_steps, 1e-5) <= upper + 1e-9
    assert epsilon_balls_and_bins(1.2 * noise, rate, n_steps, 1e-5) <= upper


def test_too_little_noise_is_refused():
    with pytest.raises(UserError, match=r"at least 0.1 for balls and bins; got 0.05"):
        epsilon_balls_and_bins(0.05, 0.1, 10, 1e-5)
