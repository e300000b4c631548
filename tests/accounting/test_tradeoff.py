import numpy as np
import pytest

from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.accounting.tradeoff import (
    TradeOff,
    largest_tpr,
    largest_tpr_of_gaussian,
    trade_off,
)
from dpcxr_core.config import UserError

FPR = np.array([0.0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0])


@pytest.mark.parametrize(("noise_multiplier", "n_steps"), [(1.0, 1), (2.0, 4), (0.3, 1), (0.6, 10)])
def test_without_sampling_the_curve_is_that_of_a_gaussian(noise_multiplier, n_steps):
    exact = largest_tpr_of_gaussian(FPR, np.sqrt(n_steps) / noise_multiplier)
    bound = trade_off(noise_multiplier, 1.0, n_steps).largest_tpr(FPR)
    assert (bound >= exact - 1e-9).all()
    np.testing.assert_allclose(bound[1:], exact[1:], atol=3e-5)  # the grid of 2,000 epsilons


def test_gaussian_curve_has_its_known_values():
    # Phi(Phi^-1(alpha) + mu) of tables of the normal distribution: alpha = 0.5 and 0.158655, mu = 1
    np.testing.assert_allclose(largest_tpr_of_gaussian(np.array([0.5, 0.1586552539]), 1.0), [0.8413447, 0.5], atol=1e-7)
    assert largest_tpr(0.5, 2.0, 1.0, 4) == pytest.approx(0.8413447, abs=1e-7)


def _likelihoods(rng, included, noise_multiplier, sample_rate, n_steps):
    """Log-likelihood ratios of a one-coordinate mechanism, as it is defined."""
    n = 200_000
    total = np.zeros(n)
    for _ in range(n_steps):
        x = noise_multiplier * rng.standard_normal(n) + (included & (rng.random(n) < sample_rate))
        moved = (2 * x - 1) / (2 * noise_multiplier**2)
        total += np.log(1 - sample_rate + sample_rate * np.exp(moved))
    return total


def test_with_sampling_the_best_attack_reaches_the_bound_and_does_not_pass_it():
    setting = (1.0, 0.3, 3)
    rng = np.random.default_rng(0)
    members, others = (_likelihoods(rng, included, *setting) for included in (True, False))
    rates = np.array([0.01, 0.05, 0.2, 0.5, 0.9])
    reached = np.array([(members >= limit).mean() for limit in np.quantile(others, 1 - rates)])
    bound = trade_off(*setting).largest_tpr(rates)
    # 200,000 each: a rate has a standard error of at most 0.0011; that of the threshold, times the slope of the curve,
    # stays below that here. 0.006 is four times both together
    np.testing.assert_allclose(reached, bound, atol=0.006)
    # roles exchanged, as if adding and removing were mixed up: the same comparison fails
    swapped = np.array([(-others >= limit).mean() for limit in np.quantile(-members, 1 - rates)])
    assert np.abs(swapped - bound).max() > 0.02


def _of_one_epsilon(epsilon, delta):
    """What one epsilon alone allows: Kairouz, Oh & Viswanath (2015), Theorem 2.1, arXiv:1311.0776."""
    return TradeOff(np.array([epsilon]), np.array([delta]), np.array([delta]))


def test_one_epsilon_is_looser_than_the_curve_that_it_is_on():
    curve, delta = trade_off(1.5, 0.5, 4), 1e-3
    loose = _of_one_epsilon(curve.epsilon(delta), delta).largest_tpr(FPR)
    assert (loose >= curve.largest_tpr(FPR) - 1e-12).all()
    assert loose[3] > curve.largest_tpr(FPR)[3] + 0.01


def test_one_epsilon_allows_what_its_theorem_says():
    np.testing.assert_allclose(_of_one_epsilon(np.log(3), 0.0).largest_tpr([0.01, 0.9]), [0.03, 1 - 0.1 / 3])
    np.testing.assert_allclose(_of_one_epsilon(0.0, 0.0).largest_tpr(FPR), FPR)


@pytest.mark.parametrize("setting", [(1.5, 0.5, 4), (0.6, 0.107, 48), (2.391, 1024 / 86524, 2000)])
def test_epsilon_agrees_with_the_accountant(setting):
    # 0.7 % between epsilons of the grid, and a coarser grid of losses than the certificate's
    assert trade_off(*setting).epsilon(1e-5) == pytest.approx(epsilon_pld(*setting, 1e-5), rel=0.01)


def test_epsilon_without_sampling_is_the_closed_form_from_above():
    found, exact = trade_off(1.5, 1.0, 4).epsilon(1e-5), epsilon_gaussian(1.5, 4, 1e-5)
    assert exact <= found <= 1.01 * exact


def test_more_noise_allows_less():
    curves = [largest_tpr(FPR, noise, 0.2, 10) for noise in (0.6, 1.0, 2.0)]
    assert (curves[0] >= curves[1]).all()
    assert (curves[1] >= curves[2]).all()
    assert (curves[2] >= FPR - 1e-9).all()  # guessing is always allowed


@pytest.mark.parametrize("fpr", [-0.1, 1.1])
def test_a_rate_that_is_no_probability_is_refused(fpr):
    with pytest.raises(UserError, match="fpr is a probability"):
        largest_tpr(fpr, 1.0, 1.0, 1)
