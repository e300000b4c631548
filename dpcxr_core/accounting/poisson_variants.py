"""Epsilon beside the claim for Poisson sampling: from below, for replacing a unit, and with a largest batch."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
from dp_accounting import NeighboringRelation, dp_event
from dp_accounting.pld import PLDAccountant
from scipy.stats import binom

from dpcxr_core.accounting.poisson import PrvUnavailableError, epsilon_pld, pld_interval, prv_at_error

# Half the width of the bracket: epsilon from below falls with it, so it is taken small where epsilon is.
_PRV_ERRORS = (0.05, 0.005)


def epsilon_poisson_at_least(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """Proved lower bound on the epsilon of Poisson sampling, for adding or removing one unit; NaN if out of reach.

    Privacy random variables bound epsilon from both sides; this is the lower one.

    Args:
        noise_multiplier: Noise standard deviation over L2 sensitivity, positive.
        sample_rate: Chance that one unit enters one step, in (0, 1].
        n_steps: Number of steps, at least 1.
        delta: Chance allowed for the guarantee to fail, in (0, 1).

    Source:
        Gopi, Lee & Wutschitz (2021), Theorem 5.5, arXiv:2106.02848.
    """
    for error in _PRV_ERRORS:
        with suppress(PrvUnavailableError):
            epsilon = prv_at_error(noise_multiplier, sample_rate, n_steps, delta, error).low
            if epsilon > 50 * error or error == _PRV_ERRORS[-1]:
                return epsilon
    return math.nan


def epsilon_poisson_replace_one(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """Upper bound on the epsilon of Poisson sampling where neighbours differ in one unit that is another one.

    The replaced unit moves a sum by up to two clip norms. ``noise_multiplier`` is over one clip norm, as everywhere.
    Arguments as for ``epsilon_poisson_at_least``.
    """
    event = dp_event.PoissonSampledDpEvent(sample_rate, dp_event.GaussianDpEvent(noise_multiplier))
    return _epsilon_of_event(event, NeighboringRelation.REPLACE_ONE, noise_multiplier, sample_rate, n_steps, delta)


def epsilon_truncated_poisson(
    noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, *, n_units: int, largest_batch: int
) -> float:
    """Upper bound on the epsilon of Poisson sampling that drops units above a largest batch.

    Neighbours have the same, public number of units; one has the gradient of one unit zeroed.

    Args:
        noise_multiplier: As above.
        sample_rate: As above, before units are dropped.
        n_steps: As above.
        delta: As above.
        n_units: Number of units, public.
        largest_batch: Most units of one step.

    Source:
        Google dp_accounting, after arXiv:2508.15089.
    """
    event = dp_event.TruncatedSubsampledGaussianDpEvent(n_units, sample_rate, largest_batch, noise_multiplier)
    return _epsilon_of_event(event, NeighboringRelation.REPLACE_SPECIAL, noise_multiplier, sample_rate, n_steps, delta)


def epsilon_truncated_poisson_at_least(
    noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, *, n_units: int, largest_batch: int
) -> float:
    """Proved lower bound for the same; NaN if out of reach.

    It is attained where no other unit has a gradient: then the unit enters as by Poisson draws, at the rate that
    dropping leaves it.
    """
    return epsilon_poisson_at_least(
        noise_multiplier, rate_after_truncation(sample_rate, n_units, largest_batch), n_steps, delta
    )


def rate_after_truncation(sample_rate: float, n_units: int, largest_batch: int) -> float:
    """Chance that one unit is drawn and not dropped: the mean size of a batch over the number of units.

    Example:
        >>> round(rate_after_truncation(0.5, 2, 1), 12)
        0.375
    """
    sizes = np.arange(n_units + 1)
    mean = float(binom.pmf(sizes, n_units, sample_rate) @ np.minimum(sizes, largest_batch))
    return min(mean / n_units, sample_rate)


def _epsilon_of_event(
    event: dp_event.DpEvent,
    relation: NeighboringRelation,
    noise_multiplier: float,
    sample_rate: float,
    n_steps: int,
    delta: float,
) -> float:
    # on a grid fit for the epsilon of plain Poisson sampling, which is smaller; a coarser one would do as well
    scale = epsilon_pld(noise_multiplier, sample_rate, n_steps, delta)
    interval = pld_interval(scale, noise_multiplier, sample_rate, n_steps)
    accountant = PLDAccountant(relation, value_discretization_interval=interval)
    accountant.compose(event, n_steps)
    return float(accountant.get_epsilon(delta))
