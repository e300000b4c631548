"""Laws of a privacy loss on a grid: composed by Fourier transforms, read off as delta and epsilon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import brentq

_LARGEST_COMPOSITION = 2**25  # points, some five seconds
_N_LOSSES = 20_000  # of one law that is rounded down; more change the fourth digit of an epsilon


@dataclass(frozen=True, eq=False)
class LossGrid:
    """How likely each privacy loss ``(first + i) * interval`` is, on the side where the loss is defined.

    Attributes:
        mass: ``(n_losses,)`` probabilities; their sum is below one where mass was left out.
        first: Number of the first loss.
        interval: Distance between neighbouring losses.
    """

    mass: NDArray[np.float64]
    first: int
    interval: float

    @property
    def losses(self) -> NDArray[np.float64]:
        """``(n_losses,)`` the losses, ascending."""
        return np.arange(self.first, self.first + len(self.mass), dtype=np.float64) * self.interval


def composed(parts: Sequence[tuple[LossGrid, int]]) -> LossGrid:
    """The law of the sum of independent losses: of each part as often as said.

    Floating point leaves an error of some 1e-12 in any delta, on either side.

    Args:
        parts: Laws on grids of one interval, each with its number of repetitions, at least 0; at least one above 0.

    Raises:
        ValueError: The intervals differ, nothing is to be composed, or the result would be too large.
    """
    parts = [(grid, n) for grid, n in parts if n > 0]
    if len({grid.interval for grid, _ in parts}) != 1:
        raise ValueError("composition needs at least one law, and all on grids of the same interval")
    length = 1 + sum(n * (len(grid.mass) - 1) for grid, n in parts)
    if length > _LARGEST_COMPOSITION:
        raise ValueError(f"composition would take {length} points; the limit is {_LARGEST_COMPOSITION}")
    size = next_fast_len(length, real=True)
    spectrum = np.ones(size // 2 + 1, complex)
    for grid, n in parts:
        spectrum *= rfft(grid.mass, size) ** n
    mass = np.maximum(irfft(spectrum, size)[:length], 0.0)
    return LossGrid(mass, sum(n * grid.first for grid, n in parts), parts[0][0].interval)


def composed_from_below(
    parts: Sequence[tuple[NDArray[np.float64], NDArray[np.float64], int]],
) -> LossGrid:
    """``composed`` for losses that are on no grid: each is rounded down, which can only lower a delta.

    Args:
        parts: Losses, the mass of each, and the number of repetitions.
    """
    n_total = sum(n for *_, n in parts)
    widest = max(float(np.ptp(losses)) for losses, *_ in parts)
    interval = max(widest, 1e-9) / min(_N_LOSSES, _LARGEST_COMPOSITION // (2 * n_total))
    grids = []
    for losses, mass, n in parts:
        places = np.floor(losses / interval).astype(np.int64)
        first = int(places.min())
        grids.append((LossGrid(np.bincount(places - first, weights=mass).astype(np.float64), first, interval), n))
    return composed(grids)


def delta_of(grid: LossGrid, epsilon: float) -> float:
    """``E[(1 - exp(epsilon - loss))+]``: the delta at ``epsilon``."""
    beyond = grid.losses > epsilon
    return float(grid.mass[beyond] @ -np.expm1(epsilon - grid.losses[beyond]))


def epsilon_of(grid: LossGrid, delta: float) -> float:
    """The smallest epsilon, not below zero, at which ``delta_of`` is at most ``delta``; infinite for delta <= 0."""
    if delta <= 0:
        return float("inf")
    if delta_of(grid, 0.0) <= delta:
        return 0.0
    return float(brentq(lambda epsilon: delta_of(grid, epsilon) - delta, 0.0, float(grid.losses[-1]), xtol=1e-9))
