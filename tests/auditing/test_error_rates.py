import numpy as np
import pytest
from scipy.stats import binom, norm

from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.auditing.error_rates import ErrorRates, epsilon_of_rates, error_rates, refutes
from dpcxr_core.config import PrivacySpecification, UserError

CLAIM = PrivacySpecification(
    sample_rate=1.0, n_steps=1, expected_batch_size=1, max_grad_norm=1.0, noise_multiplier=1.0, delta=1e-5
)
THRESHOLDS = (0.5, norm.isf(0.05), 1 - norm.isf(0.05))


def _rates(mu, seed, n=600):
    rng = np.random.default_rng([seed, 7])
    included = rng.random(n) < 0.5
    return error_rates(rng.standard_normal(n) + mu * included, included, THRESHOLDS)


def test_limits_are_those_of_clopper_and_pearson():
    scores, included = np.arange(100.0), np.arange(100) % 2 == 0
    rates = error_rates(scores, included, [70.0], confidence=0.9)
    assert (rates.tpr[0], rates.fpr[0]) == (15 / 50, 15 / 50)
    # of a limit: the chance of so many hits or more, or so few alarms or fewer, is the level
    assert binom.sf(14, 50, rates.tpr_low[0]) == pytest.approx(0.05, rel=1e-6)
    assert binom.cdf(15, 50, rates.fpr_high[0]) == pytest.approx(0.05, rel=1e-6)


def test_limits_of_none_and_of_all():
    scores, included = np.arange(40.0), np.arange(40) % 2 == 0
    rates = error_rates(scores, included, [-1.0, 99.0])
    assert rates.tpr_low[1] == 0.0
    assert rates.fpr_high[0] == 1.0
    assert 0 < rates.tpr_low[0] < 1
    assert 0 < rates.fpr_high[1] < 1


def test_a_true_claim_stands_and_half_its_noise_is_refuted():
    assert np.mean([refutes(_rates(1.0, seed), CLAIM) for seed in range(60)]) <= 0.05
    assert np.mean([refutes(_rates(2.0, seed), CLAIM) for seed in range(60)]) >= 0.95


def test_epsilon_of_rates_is_below_the_true_one():
    true = epsilon_gaussian(1.0, 1, 1e-5)
    found = np.array([epsilon_of_rates(_rates(1.0, seed), 1e-5) for seed in range(60)])
    assert np.mean(found <= true) >= 0.95
    assert found.mean() > 0.3
    assert np.mean([epsilon_of_rates(_rates(0.0, seed), 1e-5) == 0 for seed in range(60)]) >= 0.95


def test_epsilon_of_rates_by_hand():
    def of(tpr_low, fpr_high):
        return ErrorRates(np.zeros(1), np.ones(1), np.zeros(1), np.array([tpr_low]), np.array([fpr_high]))

    assert epsilon_of_rates(of(0.61, 0.2), 0.01) == pytest.approx(np.log(3))
    assert epsilon_of_rates(of(0.9, 0.49), 0.01) == pytest.approx(np.log(5))
    assert epsilon_of_rates(of(0.1, 0.5), 0.01) == 0


def test_canaries_of_one_kind_are_refused():
    with pytest.raises(UserError, match="both kinds"):
        error_rates(np.arange(30.0), np.ones(30, bool), [1.0])
