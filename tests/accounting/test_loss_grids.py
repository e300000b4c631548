import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.accounting.loss_grids import LossGrid, composed, composed_from_below, delta_of, epsilon_of

_LAWS = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5)


def _grid(weights, first):
    return LossGrid(np.array(weights) / sum(weights), first, 0.5)


@settings(derandomize=True, deadline=None)
@given(_LAWS, _LAWS, st.integers(-4, 4), st.integers(1, 3))
def test_composition_is_convolution(one, other, first, n):
    first_grid, second_grid = _grid(one, first), _grid(other, 1)
    expected = second_grid.mass
    for _ in range(n):
        expected = np.convolve(expected, first_grid.mass)
    total = composed([(first_grid, n), (second_grid, 1), (second_grid, 0)])
    np.testing.assert_allclose(total.mass, expected, atol=1e-15)
    assert total.losses[0] == 0.5 * (n * first + 1)


@settings(derandomize=True, deadline=None)
@given(_LAWS, st.integers(-2, 6), st.floats(0.001, 0.9))
def test_epsilon_is_the_least_whose_delta_is_small_enough(weights, first, delta):
    grid = _grid(weights, first)
    epsilon = epsilon_of(grid, delta)
    assert delta_of(grid, epsilon + 1e-8) <= delta
    assert epsilon == 0 or delta_of(grid, epsilon - 1e-6) > delta - 1e-12


def test_delta_of_two_losses_by_hand():
    grid = LossGrid(np.array([0.25, 0.75]), 0, 2.0)
    assert delta_of(grid, 1.0) == pytest.approx(0.75 * (1 - np.exp(-1.0)))
    assert epsilon_of(grid, 0.0) == np.inf


def test_rounding_down_lowers_epsilon_but_by_little():
    losses, mass = np.array([-1.0, 0.3, 1.1]), np.array([0.2, 0.5, 0.3])
    exact = LossGrid(np.zeros(211), -100, 0.01)
    exact.mass[[0, 130, 210]] = mass
    epsilons = [epsilon_of(composed([(exact, 3)]), 0.01), epsilon_of(composed_from_below([(losses, mass, 3)]), 0.01)]
    assert 0 <= epsilons[0] - epsilons[1] < 1e-3


def test_grids_that_do_not_fit_or_would_be_too_large_are_refused():
    grid = _grid([1.0, 1.0], 0)
    with pytest.raises(ValueError, match="same interval"):
        composed([(grid, 1), (LossGrid(grid.mass, 0, 0.25), 1)])
    with pytest.raises(ValueError, match="at least one law"):
        composed([(grid, 0)])
    with pytest.raises(ValueError, match="limit"):
        composed([(grid, 2**26)])
