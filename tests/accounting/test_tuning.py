import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.accounting.poisson import epsilon_pld, epsilon_rdp
from dpcxr_core.accounting.tuning import (
    cost_of_tuning,
    epsilon_after_tuning,
    epsilon_of_all_runs,
    noise_with_tuning,
)
from dpcxr_core.config import PrivacySpecification, UserError

RUN = (2.0, 0.05, 50, 1e-5)
LAWS = ("logarithmic", "geometric", "poisson")
SPECIFICATION = PrivacySpecification(
    sample_rate=0.05, n_steps=50, expected_batch_size=50, max_grad_norm=1.0, noise_multiplier=2.0, delta=1e-5
)


@pytest.mark.parametrize("law", ["logarithmic", "geometric"])
def test_one_run_is_no_choice_and_nearly_one_costs_little_more(law):
    once = epsilon_rdp(*RUN)
    assert epsilon_after_tuning(*RUN, 1, law) == once
    assert once < epsilon_after_tuning(*RUN, 1.0001, law) < 1.1 * once


def _geometric_by_hand(noise, rate, n_steps, delta, mean):
    """Papernot & Steinke, Corollary 4: RDP e at order a becomes e(a) + 2 (1 - 1/b) e(b) + 2 ln(mean) / b + ...

    At sampling rate 1 the RDP of a run is a T / (2 noise^2), so both orders can be searched directly.
    """
    slope = n_steps / (2 * noise**2)
    orders = [1 + step / 100 for step in range(1, 20_000)]
    constant = 2 * min((1 - 1 / b) * slope * b + math.log(mean) / b for b in orders)
    return min(
        slope * a + math.log(mean) / (a - 1) + constant + math.log1p(-1 / a) - math.log(delta * a) / (a - 1)
        for a in orders
    )


@pytest.mark.parametrize("mean", [2, 10, 100])
def test_geometric_number_of_gaussians_matches_the_theorem_by_hand(mean):
    found = epsilon_after_tuning(20.0, 1.0, 16, 1e-5, mean, "geometric")
    assert found == pytest.approx(_geometric_by_hand(20.0, 1.0, 16, 1e-5, mean), rel=0.02)


@settings(derandomize=True, deadline=None, max_examples=5)
@given(noise=st.floats(1.0, 5), mean=st.floats(1.5, 60), law=st.sampled_from(LAWS))
def test_choice_costs_more_than_a_run_and_rises_with_runs(noise, mean, law):
    values = (noise, *RUN[1:])
    tuned = epsilon_after_tuning(*values, mean, law)
    assert tuned > epsilon_rdp(*values)
    assert tuned < epsilon_after_tuning(*values, 2 * mean, law)


def test_heavier_tails_are_cheaper_and_many_runs_are_cheaper_than_all_of_them():
    costs = [epsilon_after_tuning(*RUN, 30, law) for law in LAWS]
    assert costs == sorted(costs)
    assert costs[1] < epsilon_of_all_runs(*RUN, 30)
    assert epsilon_after_tuning(*RUN, 2) > epsilon_of_all_runs(*RUN, 2)  # a fixed pair is better released whole


def test_all_runs_together_are_one_long_run():
    assert epsilon_of_all_runs(*RUN, 3) == epsilon_pld(2.0, 0.05, 150, 1e-5)
    assert epsilon_of_all_runs(1.0, 0.5, 50, 1e-5, 50) == math.inf


@pytest.mark.parametrize("law", LAWS)
def test_noise_with_tuning_keeps_the_target_and_not_a_digit_more(law):
    noise = noise_with_tuning(
        target_epsilon=2.0, delta=1e-5, sample_rate=0.05, n_steps=50, mean_runs=10, distribution=law
    )
    assert epsilon_after_tuning(noise, 0.05, 50, 1e-5, 10, law) <= 2.0
    assert epsilon_after_tuning(noise - 1e-4, 0.05, 50, 1e-5, 10, law) > 2.0


def test_cost_holds_what_each_function_gives():
    cost = cost_of_tuning(SPECIFICATION, 10)
    assert cost.epsilon_once == epsilon_pld(*RUN)
    assert cost.epsilon_tuned == epsilon_after_tuning(*RUN, 10)
    assert cost.epsilon_composed == epsilon_of_all_runs(*RUN, 10)
    assert epsilon_after_tuning(cost.noise_multiplier_tuned, *RUN[1:], 10) <= cost.epsilon_once
    assert cost.noise_factor == cost.noise_multiplier_tuned / cost.noise_multiplier_rdp > 1
    assert cost.noise_multiplier_rdp > cost.noise_multiplier  # what one run takes by RDP is more than by PLD
    assert epsilon_rdp(cost.noise_multiplier_rdp, *RUN[1:]) <= cost.epsilon_once
    with pytest.raises(UserError, match="promises nothing"):
        cost_of_tuning(replace(SPECIFICATION, noise_multiplier=0.0), 10)


@pytest.mark.parametrize("law", ["logarithmic", "geometric"])
def test_choice_of_one_needs_no_more_noise(law):
    """The surplus of RDP over PLD, of some percent, is no cost of choosing."""
    assert cost_of_tuning(SPECIFICATION, 1, law).noise_factor == 1.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mean_runs": 0.5}, "mean_runs"),
        ({"mean_runs": math.inf}, "mean_runs"),
        ({"distribution": "fixed"}, "logarithmic, geometric, poisson; got 'fixed'"),
    ],
)
def test_values_out_of_range_are_refused(change, named):
    with pytest.raises(UserError, match=named):
        epsilon_after_tuning(*RUN, **{"mean_runs": 3, **change})
    with pytest.raises(UserError, match="n_runs"):
        epsilon_of_all_runs(*RUN, 0)
    with pytest.raises(UserError, match="target_epsilon"):
        noise_with_tuning(target_epsilon=0.0, delta=1e-5, sample_rate=0.1, n_steps=10, mean_runs=3)
    with pytest.raises(UserError, match="no noise multiplier"):
        noise_with_tuning(target_epsilon=1e-3, delta=1e-9, sample_rate=1.0, n_steps=100, mean_runs=1e6)
