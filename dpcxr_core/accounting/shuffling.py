"""Shuffled batches: what is proved about them, from below and from above. Nobody accounts for them exactly.

Neighbours differ in one unit that is replaced by another one, or by one without a gradient (zero-out), so that both
have as many units and the same batches. The lower bounds say that no accountant, however clever, can claim less.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri_exp

from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.loss_grids import composed_from_below, epsilon_of
from dpcxr_core.accounting.passes import batches_per_pass
from dpcxr_core.accounting.values import check_values

_SHIFT = 2.0  # of the unit's batch against the others, in clip norms
_N_CELLS = 40_000  # of the largest coordinate
_LOG_TAIL = math.log(1e-16)
_LEAST_MASS = 1e-18


def epsilon_shuffled_at_least(
    noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, *, sensitivity: float = 1.0
) -> float:
    """Proved lower bound on epsilon where every pass cuts a new random order into batches.

    It is attained by a data set on which the gradient of every other unit points against that of the one in
    question. All batches then look alike, but that of the unit: it is shifted by two clip norms, by one with the
    unit zeroed, and not at all with the unit replaced by one like the others. Only the largest coordinate of each
    pass is looked at, losses are rounded down, and the passes are composed by Fourier transforms: the first two can
    only lower the bound.

    Args:
        noise_multiplier: Noise standard deviation over the clip norm, positive.
        sample_rate: Batch size over number of units, in (0, 1]; a pass has as many whole batches as fit.
        n_steps: Number of steps; the last pass need not be whole.
        delta: Chance allowed for the guarantee to fail, in (0, 1).
        sensitivity: How far neighbours move one sum, in clip norms: 1 for zero-out, 2 for replacing a unit.

    Raises:
        UserError: A value is outside its range.

    Source:
        Chua et al. (2024), arXiv:2403.17673 and arXiv:2411.04205.
    """
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    n_batches = batches_per_pass(sample_rate)
    n_passes, n_left = divmod(n_steps, n_batches)
    passes = [
        (_laws_of_largest(noise_multiplier, sample_rate, n_seen, sensitivity), n)
        for n_seen, n in ((n_batches, n_passes), (n_left, 1))
        if n_seen and n
    ]
    ways = [[(*_losses(pair[way], pair[1 - way]), n) for pair, n in passes] for way in (0, 1)]
    return max(epsilon_of(composed_from_below(way), delta) for way in ways)


def epsilon_one_batch_a_pass(
    noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, *, sensitivity: float = 1.0
) -> float:
    """Proved upper bound on epsilon wherever a unit is in at most one batch of each pass, without amplification.

    Knowing every batch, one would see one Gaussian a pass; that is the bound. Arguments as above, and

    Args:
        noise_multiplier: As above.
        sample_rate: As above.
        n_steps: As above.
        delta: As above.
        sensitivity: How far neighbours move one sum, in clip norms: 1 for zero-out, 2 for replacing a unit.

    Source:
        Dong, Roth & Su (2019), Corollary 3.3, arXiv:1905.02383.
    """
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    n_passes = math.ceil(n_steps / batches_per_pass(sample_rate))
    return epsilon_gaussian(noise_multiplier / sensitivity, n_passes, delta)


def _laws_of_largest(
    noise_multiplier: float, sample_rate: float, n_seen: int, sensitivity: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``(n_cells,)`` each: the law of the largest of ``n_seen`` coordinates, with the unit and without."""
    low = noise_multiplier * float(ndtri_exp(_LOG_TAIL / n_seen))
    high = _SHIFT - noise_multiplier * float(ndtri_exp(_LOG_TAIL - math.log(n_seen)))
    edges = np.linspace(low, high, _N_CELLS + 1)
    chance = min(1.0, sample_rate * n_seen)  # that the unit is in one of the batches seen
    with_unit, without = (
        _law_of_largest(edges, noise_multiplier, n_seen, chance, shift) for shift in (_SHIFT, _SHIFT - sensitivity)
    )
    return with_unit, without


def _law_of_largest(
    edges: NDArray[np.float64], noise_multiplier: float, n_seen: int, chance: float, shift: float
) -> NDArray[np.float64]:
    """Mass of each cell, from the tail that keeps more digits."""
    log_in_others = n_seen * log_ndtr(edges / noise_multiplier)
    log_in_one = (n_seen - 1) / n_seen * log_in_others + log_ndtr((edges - shift) / noise_multiplier)
    below = chance * np.exp(log_in_one) + (1 - chance) * np.exp(log_in_others)
    above = -chance * np.expm1(log_in_one) - (1 - chance) * np.expm1(log_in_others)
    return np.maximum(np.where(below[1:] < 0.5, np.diff(below), -np.diff(above)), 0.0)


def _losses(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Losses of the cells, and the mass of each by the first law. What is left out only lowers the bound."""
    kept = (first > _LEAST_MASS) & (second > 0)
    return np.log(first[kept]) - np.log(second[kept]), first[kept]
