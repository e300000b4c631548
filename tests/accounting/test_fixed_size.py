import numpy as np
import pytest
from dp_accounting import NeighboringRelation, dp_event
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from dpcxr_core.accounting.fixed_size import epsilon_fixed_size, epsilon_fixed_size_at_least
from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.accounting.poisson_variants import epsilon_poisson_replace_one
from dpcxr_core.config import UserError


@pytest.mark.parametrize(("noise", "n_steps"), [(2.0, 1), (6.0, 20)])
def test_batch_of_all_units_is_a_gaussian_with_half_the_noise(noise, n_steps):
    exact = epsilon_gaussian(noise / 2, n_steps, 1e-5)
    assert 0 <= epsilon_fixed_size(noise, 1.0, n_steps, 1e-5) - exact < 1e-3 * exact
    assert 0 <= exact - epsilon_fixed_size_at_least(noise, 1.0, n_steps, 1e-5) < 0.03 * exact


def _delta_of_opposed_units(epsilon, noise, rate):
    """One step, all other gradients opposed to that of the unit: a batch is shifted by two clip norms, or not."""
    edges = np.linspace(-10 * noise, 2 + 10 * noise, 200_001)
    without, shifted = np.diff(ndtr(edges / noise)), np.diff(ndtr((edges - 2) / noise))
    return np.maximum((1 - rate) * without + rate * shifted - np.exp(epsilon) * without, 0).sum()


@pytest.mark.parametrize(("noise", "rate"), [(1.0, 0.1), (3.0, 0.5)])
def test_one_step_is_tight_for_units_that_oppose_the_one_in_question(noise, rate):
    epsilon = epsilon_fixed_size(noise, rate, 1, 1e-5)
    assert _delta_of_opposed_units(epsilon, noise, rate) == pytest.approx(1e-5, rel=0.01)


@settings(derandomize=True, deadline=None, max_examples=2)
@given(st.floats(1.0, 6.0), st.floats(0.01, 0.5), st.integers(1, 60))
def test_bounds_keep_their_order_and_cost_more_than_poisson_batches(noise, rate, n_steps):
    values = (noise, rate, n_steps, 1e-5)
    upper = epsilon_fixed_size(*values)
    assert epsilon_fixed_size_at_least(*values) <= upper
    assert epsilon_poisson_replace_one(*values) <= upper * 1.001
    assert epsilon_pld(noise / 2, rate, n_steps, 1e-5) <= upper * 1.001


def _epsilon_by_rdp(noise_over_sensitivity):
    accountant = RdpAccountant(neighboring_relation=NeighboringRelation.REPLACE_ONE)
    event = dp_event.GaussianDpEvent(noise_over_sensitivity)
    accountant.compose(dp_event.SampledWithoutReplacementDpEvent(86_524, 1024, event), 24 * 84)
    return accountant.get_epsilon(6e-6)


def test_rdp_agrees_only_if_it_is_told_that_a_replaced_unit_moves_the_sum_by_two_clip_norms():
    values = (1.8, 1024 / 86_524, 24 * 84, 6e-6)
    assert epsilon_fixed_size(*values) < _epsilon_by_rdp(1.8 / 2)
    # told one clip norm, it claims less than is certainly spent
    assert _epsilon_by_rdp(1.8) < epsilon_fixed_size_at_least(*values)


def test_senseless_values_are_refused():
    with pytest.raises(UserError, match="sample_rate"):
        epsilon_fixed_size(1.0, 2.0, 1, 1e-5)
