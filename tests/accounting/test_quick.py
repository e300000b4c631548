import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.accounting import quick
from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.accounting.quick import gaussian_limit, quick_epsilon, quick_epsilons, quick_noise_multiplier
from dpcxr_core.config import UserError


@pytest.mark.parametrize(("noise", "n_steps"), [(10.0, 100), (3.845, 1), (1.0, 2), (500.0, 10_000)])
def test_epsilon_is_the_closed_form_without_sampling(noise, n_steps):
    exact = epsilon_gaussian(noise, n_steps, 6e-6)
    assert quick_epsilon(noise, 1.0, n_steps, 6e-6) == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize(
    "setting",
    [
        (2.391, 1024 / 86524, 2000, 6e-6),  # the paper's ChestX-ray14 at 0.9
        (0.597, 128 / 153537, 23990, 6e-6),  # its Aachen images at 3, where few large losses decide
        (7.421, 4096 / 128356, 1000, 6e-6),
        (0.4, 1e-4, 100, 6e-6),  # RDP would be 2.7 times too high
        (0.6, 1e-4, 10_000, 6e-6),
        (8.0, 0.05, 50_000, 6e-6),
        (1.2, 0.5, 3, 1e-4),
    ],
)
def test_epsilon_is_within_one_percent_of_pld(setting):
    assert quick_epsilon(*setting) == pytest.approx(epsilon_pld(*setting), rel=0.01)


@settings(derandomize=True, deadline=None, max_examples=5)
@given(
    log_rate=st.floats(math.log(1e-3), 0.0),
    log_passes=st.floats(math.log(2), math.log(50)),
    log_epsilon=st.floats(math.log(0.3), math.log(9)),
    log_delta=st.floats(math.log(1e-6), math.log(1e-3)),
)
def test_noise_multiplier_spends_the_target_by_pld_within_two_percent(log_rate, log_passes, log_epsilon, log_delta):
    """Two, as the grid of the claim may add one of its own."""
    rate, delta, target = math.exp(log_rate), math.exp(log_delta), math.exp(log_epsilon)
    n_steps = max(1, round(math.exp(log_passes) / rate))
    noise = quick_noise_multiplier(target_epsilon=target, delta=delta, sample_rate=rate, n_steps=n_steps)
    assert epsilon_pld(noise, rate, n_steps, delta) == pytest.approx(target, rel=0.02)


def test_several_deltas_agree_with_one_at_a_time_and_fall():
    deltas = [1e-3, 1e-5, 1e-8]
    together = quick_epsilons(1.1, 0.01, 1000, deltas)
    assert together == pytest.approx([quick_epsilon(1.1, 0.01, 1000, delta) for delta in deltas], rel=1e-3)
    assert np.all(np.diff(together) > 0)


def test_adding_a_unit_counts_too():
    """Removing has the larger epsilon where sampling hides the unit, as is known."""
    both = [quick._epsilons(*quick._composed(1.0, 0.2, 20, 1e-9, adding=a), np.array([1e-5]))[0] for a in (False, True)]
    assert both[0] > 1.1 * both[1] > 0
    assert quick_epsilon(1.0, 0.2, 20, 1e-5) == pytest.approx(max(both), rel=1e-3)


def test_epsilon_is_zero_where_delta_covers_everything():
    assert quick_epsilon(1e5, 0.01, 10, 1e-3) == 0.0


def test_gaussian_limit_is_exact_without_sampling_and_near_for_long_runs():
    noise = gaussian_limit(1.0, 1e-5, 1.0, 100)
    assert epsilon_gaussian(noise, 100, 1e-5) == pytest.approx(1.0, rel=1e-6)
    long = gaussian_limit(1.0, 1e-5, 0.05, 20_000)
    assert quick_epsilon(long, 0.05, 20_000, 1e-5) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"target_epsilon": 0.0}, "target_epsilon"),
        ({"target_epsilon": math.nan}, "target_epsilon"),
        ({"target_epsilon": 1e5}, "target_epsilon"),
        ({"sample_rate": 1.5}, "sample_rate"),
        ({"delta": 0.0}, "delta"),
        ({"n_steps": 0}, "n_steps"),
    ],
)
def test_wrong_values_are_named(wrong, named):
    with pytest.raises(UserError, match=named):
        quick_noise_multiplier(**{"target_epsilon": 1.0, "delta": 1e-5, "sample_rate": 0.01, "n_steps": 100} | wrong)
