"""The bound that a certificate puts on every attack: the largest true positive rate at a false positive rate.

An attack looks at everything a run releases and says whether one unit was trained on. Its true positive rate (TPR)
is the chance that it says so of a unit that was, its false positive rate (FPR) of one that was not. A private
mechanism ties the two, whatever the attack is and whatever else it knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from dp_accounting.pld import privacy_loss_distribution
from scipy.special import ndtr, ndtri

from dpcxr_core.accounting.values import check_values
from dpcxr_core.config import UserError

_N_EPSILONS = 2000
_LARGEST_GRID = 4_000  # points of the grid of one step's privacy loss: a tenth of a second
_LARGEST_LOSS = 300.0  # a larger loss counts as infinite: its exponential would leave float64
_SMALLEST_DELTA = 1e-12  # below this a delta is rounding error of the convolutions


@dataclass(frozen=True)
class TradeOff:
    """Every (epsilon, delta) that one mechanism satisfies, for adding and for removing a unit.

    Attributes:
        epsilons: ``(n,)`` float64, ascending from 0.
        deltas_remove: ``(n,)``: P(with) <= e^epsilon P(without) + delta for every event.
        deltas_add: ``(n,)``: P(without) <= e^epsilon P(with) + delta.
    """

    epsilons: np.ndarray
    deltas_remove: np.ndarray
    deltas_add: np.ndarray

    def largest_tpr(self, fpr: np.ndarray | float) -> np.ndarray:
        """The largest TPR that any attack has at each ``fpr``, in [0, 1]; the shape of ``fpr``.

        Promise:
            An upper bound: the grid and the rounding of the accountant can only raise it.
        """
        rates = _checked_fpr(fpr)[..., None]
        by_removing = np.exp(self.epsilons) * rates + self.deltas_remove
        by_adding = 1 - np.exp(-self.epsilons) * (1 - rates - self.deltas_add)
        return np.clip(np.minimum(by_removing, by_adding).min(-1), 0.0, 1.0)

    def epsilon(self, delta: float) -> float:
        """An epsilon at ``delta``, at most 1 % above the least; infinity where none on the grid is enough."""
        enough = np.flatnonzero(np.maximum(self.deltas_remove, self.deltas_add) <= delta)
        return float(self.epsilons[enough[0]]) if len(enough) else math.inf


def largest_tpr(fpr: np.ndarray | float, noise_multiplier: float, sample_rate: float, n_steps: int) -> np.ndarray:
    """The largest TPR at each ``fpr`` against Poisson-sampled Gaussian noise: exact without sampling, else a bound.

    Arguments as for ``trade_off``; the shape of ``fpr``.
    """
    if sample_rate == 1:
        check_values(noise_multiplier, sample_rate, n_steps, 0.5)
        return largest_tpr_of_gaussian(fpr, np.sqrt(n_steps) / noise_multiplier)
    return trade_off(noise_multiplier, sample_rate, n_steps).largest_tpr(fpr)


@lru_cache(maxsize=256)
def trade_off(noise_multiplier: float, sample_rate: float, n_steps: int) -> TradeOff:
    """The trade-off of Poisson-sampled Gaussian noise, from its privacy loss distribution.

    Args:
        noise_multiplier: Noise standard deviation over L2 sensitivity, positive.
        sample_rate: Chance that one unit enters one step, in (0, 1].
        n_steps: Number of steps, at least 1.

    Raises:
        UserError: A value is outside its range.

    Source:
        Dong, Roth & Su (2019), Proposition 6 (an (epsilon, delta) for each epsilon is a trade-off curve),
        arXiv:1905.02383; the distributions are those of Google dp_accounting.
    """
    check_values(noise_multiplier, sample_rate, n_steps, 0.5)
    steepest = 1 / (2 * noise_multiplier**2) + 10 / noise_multiplier
    of_one_step = float(np.log1p(sample_rate * np.expm1(min(steepest, 700.0))))  # largest loss, up to a rare tail
    # error grows as interval times the square root of the steps; a search over many noises must stay payable
    interval = max(min(1e-3, of_one_step / (100 * np.sqrt(n_steps))), of_one_step / _LARGEST_GRID, 1e-5)
    loss = privacy_loss_distribution.from_gaussian_mechanism(
        noise_multiplier, sampling_prob=sample_rate, value_discretization_interval=interval
    ).self_compose(n_steps)
    largest = min(max(np.sqrt(n_steps) * of_one_step, 1.0), _LARGEST_LOSS)
    epsilons = np.concatenate([[0.0], np.geomspace(1e-3, largest, _N_EPSILONS)])
    return TradeOff(epsilons, _deltas(loss._pmf_remove, epsilons), _deltas(loss._pmf_add, epsilons))


def _deltas(losses_of: Any, epsilons: np.ndarray) -> np.ndarray:
    """The delta at each of ``epsilons`` of a distribution of dp_accounting, whose own loop takes minutes here."""
    dense = losses_of.to_dense_pmf()
    losses = dense._discretization * (dense._lower_loss + np.arange(len(dense._probs)))
    kept = (losses > 0) & (losses <= _LARGEST_LOSS)
    too_large = dense._infinity_mass + dense._probs[losses > _LARGEST_LOSS].sum()
    losses, probabilities = losses[kept], np.maximum(dense._probs[kept], 0.0)
    first = np.searchsorted(losses, epsilons, side="right")
    with_unit = np.append(np.cumsum(probabilities[::-1])[::-1], 0.0)[first]
    without = np.append(np.cumsum((probabilities * np.exp(-losses))[::-1])[::-1], 0.0)[first]
    return np.clip(too_large + with_unit - np.exp(epsilons) * without, _SMALLEST_DELTA, 1.0)


def largest_tpr_of_gaussian(fpr: np.ndarray | float, mu: float) -> np.ndarray:
    """The exact largest TPR at each ``fpr`` of one Gaussian with L2 sensitivity ``mu`` times its noise.

    Source:
        Dong, Roth & Su (2019), Equation 6, arXiv:1905.02383.
    """
    return ndtr(ndtri(_checked_fpr(fpr)) + mu)


def _checked_fpr(fpr: np.ndarray | float) -> np.ndarray:
    rates = np.asarray(fpr, float)
    if not ((rates >= 0) & (rates <= 1)).all():
        raise UserError(f"fpr is a probability in [0, 1]; got {rates.min()} to {rates.max()}")
    return rates
