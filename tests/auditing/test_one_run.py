import math

import numpy as np
import pytest
from scipy.stats import binom

from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.auditing.one_run import epsilon_one_run, order_of, p_value
from dpcxr_core.config import UserError

DELTA = 6e-6
N_SEEDS = 60


def _bounds(mu, n_canaries, *, fair=True):
    """Bounds on a Gaussian with sensitivity ``mu``; with ``fair`` False the coins are read off the scores."""
    found = []
    for seed in range(N_SEEDS):
        rng = np.random.default_rng([seed, 4])
        included = rng.random(n_canaries) < 0.5
        scores = rng.standard_normal(n_canaries) + mu * included
        found.append(epsilon_one_run(scores, included if fair else scores > 0, DELTA))
    return np.array(found)


def test_without_delta_the_p_value_is_a_binomial_tail():
    chance = math.exp(2) / (1 + math.exp(2))
    by_hand = sum(binom.pmf(k, 10, chance) for k in (9, 10))
    assert p_value(1000, 10, 9, 2.0, 0.0) == pytest.approx(by_hand, rel=1e-12)


def _p_value_of_the_paper(m, r, v, eps, delta):
    """The listing of Appendix D of arXiv:2305.08846, line by line."""
    q = 1 / (1 + math.exp(-eps))
    beta = binom.sf(v - 1, r, q)
    alpha, total = 0.0, 0.0
    for i in range(1, v + 1):
        total += binom.pmf(v - i, r, q)
        if total > i * alpha:
            alpha = total / i
    return min(beta + alpha * delta * 2 * m, 1)


@pytest.mark.parametrize(("m", "r", "v", "eps", "delta"), [(1000, 50, 48, 2.0, 1e-5), (200, 100, 60, 0.1, 1e-3)])
def test_p_value_is_that_of_the_paper(m, r, v, eps, delta):
    assert p_value(m, r, v, eps, delta) == pytest.approx(_p_value_of_the_paper(m, r, v, eps, delta), rel=1e-9)
    assert p_value(m, r, v, eps, delta) > p_value(m, r, v, eps, 0.0)


def test_guesses_about_nothing_prove_nothing():
    found = _bounds(0.0, 400)
    assert np.mean(found == 0) >= 0.95
    assert np.mean(_bounds(0.0, 400, fair=False) == 0) < 0.05  # scores that know the coins


@pytest.mark.parametrize(("noise_multiplier", "least"), [(1.425, 0.7), (0.612, 1.9)])
def test_bound_on_a_known_gaussian_is_valid_and_not_idle(noise_multiplier, least):
    # privacy.md 6a: at 1,000 canaries 0.69 of 3 and 2.20 of 8
    found = _bounds(1 / noise_multiplier, 1000)
    assert np.mean(found <= epsilon_gaussian(noise_multiplier, 1, DELTA)) >= 0.95
    assert found.mean() > least


def test_more_delta_proves_less():
    rng = np.random.default_rng(0)
    included = rng.random(1000) < 0.5
    scores = rng.standard_normal(1000) + 2 * included
    assert epsilon_one_run(scores, included, 1e-9) > epsilon_one_run(scores, included, 1e-3) > 0


def test_ties_keep_their_order():
    assert order_of(np.zeros(30), np.ones(30, bool)).tolist() == list(range(30))


def test_bad_scores_are_refused():
    coins = np.ones(30, bool)
    with pytest.raises(UserError, match="at least 20"):
        epsilon_one_run(np.zeros(5), coins[:5], DELTA)
    with pytest.raises(UserError, match="at least 20"):
        epsilon_one_run(np.full(30, np.nan), coins, DELTA)
    with pytest.raises(UserError, match="must be"):
        epsilon_one_run(np.zeros(30), coins.astype(int), DELTA)
