import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.tradeoff import trade_off
from dpcxr_core.auditing.error_rates import ErrorRates, error_rates, refutes
from dpcxr_core.auditing.family import epsilon_in_family
from dpcxr_core.config import PrivacySpecification

CLAIM = PrivacySpecification(
    sample_rate=1.0, n_steps=1, expected_batch_size=1, max_grad_norm=1.0, noise_multiplier=0.612, delta=6e-6
)
MU = 1 / 0.612


def _point(fpr, tpr):
    return ErrorRates(np.zeros(1), np.array([tpr]), np.array([fpr]), np.array([tpr]), np.array([fpr]))


def _found(mu, n_seeds, n=1000):
    thresholds = (MU / 2, norm.isf(0.05), MU - norm.isf(0.05))
    bounds = []
    for seed in range(n_seeds):
        rng = np.random.default_rng([seed, 11])
        included = rng.random(n) < 0.5
        rates = error_rates(rng.standard_normal(n) + mu * included, included, thresholds)
        bounds.append(epsilon_in_family(rates, CLAIM))
    return np.array(bounds)


def test_a_point_on_the_curve_gives_the_epsilon_of_the_curve():
    on_curve = _point(0.1, float(norm.cdf(norm.ppf(0.1) + MU)))
    exact = epsilon_gaussian(0.612, 1, 6e-6)
    assert 0.96 * exact < epsilon_in_family(on_curve, CLAIM) <= 1.01 * exact  # 2 % of noise are 3 % of epsilon


def test_bound_on_a_known_gaussian_is_valid_and_near():
    # privacy.md 6a: 6.0 of 8 at 1,000 canaries
    true = epsilon_gaussian(0.612, 1, 6e-6)
    found = _found(MU, 40)
    assert np.mean(found <= true) >= 0.95
    assert found.mean() > 5.5
    assert np.mean(_found(2 * MU, 10) > true) == 1.0  # half the noise
    assert np.mean(_found(0.0, 40) == 0) >= 0.95


def test_with_sampling_it_is_above_the_claim_only_where_the_claim_is_refuted():
    claim = replace(CLAIM, sample_rate=0.5, n_steps=4, noise_multiplier=1.5)
    curve = trade_off(1.5, 0.5, 4)
    below, above = (_point(0.1, float(curve.largest_tpr(0.1)) + shift) for shift in (-0.02, 0.02))
    assert not refutes(below, claim)
    assert refutes(above, claim)
    claimed = curve.epsilon(claim.delta)
    assert 0.7 * claimed < epsilon_in_family(below, claim) < claimed < epsilon_in_family(above, claim) < 1.3 * claimed


def test_what_no_noise_explains_is_infinite():
    once = replace(CLAIM, sample_rate=0.5)
    assert epsilon_in_family(_point(0.01, 0.9), once) == math.inf  # half of the members are not even drawn
    assert epsilon_in_family(_point(0.5, 0.5), once) == 0.0


def test_guessing_proves_nothing():
    assert epsilon_in_family(_point(0.2, 0.2), CLAIM) == pytest.approx(0.0)
