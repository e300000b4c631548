"""Random quantities of a drawing, each a fixed function of one row of uniform numbers.

A generated image owns one row of uniforms. Whatever it needs is read off that row, column after column,
so it does not depend on which images are drawn beside it, nor on the size at which it is drawn.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

Array = np.ndarray


class Draws:
    """Reads named quantities off rows of uniforms, the next column at each call.

    Every quantity has shape ``(n_rows, 1, 1)``, float32, ready to be broadcast against images.

    Args:
        uniforms: ``(n_rows, n_columns)`` in [0, 1).

    Raises:
        IndexError: More columns are asked for than the rows have.
    """

    def __init__(self, uniforms: Array) -> None:
        self._uniforms = uniforms
        self._used = 0

    def _columns(self, n_columns: int) -> Array:
        start, self._used = self._used, self._used + n_columns
        if self._used > self._uniforms.shape[1]:
            raise IndexError(f"a row has {self._uniforms.shape[1]} uniforms; the drawing asks for {self._used}")
        return self._uniforms[:, start : self._used]

    def uniform(self, low: float, high: float) -> Array:
        """Uniform on [low, high)."""
        return (low + (high - low) * self._columns(1)).astype(np.float32)[:, :, None]

    def normal(self, mean: float, std: float) -> Array:
        """Normal with the given mean and standard deviation."""
        return (mean + std * _standard_normal(self._columns(1))).astype(np.float32)[:, :, None]

    def chance(self, probability: float | Array) -> Array:
        """1 with ``probability`` (a number, or one per row of shape ``(n_rows, 1, 1)``), else 0."""
        return (self._columns(1)[:, :, None] < probability).astype(np.float32)

    def side(self) -> Array:
        """-1 or 1, each with probability one half."""
        return 1 - 2 * self.chance(0.5)

    def field(self, n_knots: int, size: int) -> Array:
        """``(n_rows, size, size)`` smooth random field, standard normal at its ``n_knots`` x ``n_knots`` knots."""
        n_rows = len(self._uniforms)
        knots = _standard_normal(self._columns(n_knots**2)).astype(np.float32)
        spread = _spread(n_knots, size)
        return spread @ knots.reshape(n_rows, n_knots, n_knots) @ spread.T


def _standard_normal(uniforms: Array) -> Array:
    """Standard normal quantiles; the ends are cut at 4.3 standard deviations to stay finite."""
    return ndtri(np.clip(uniforms, 1e-5, 1 - 1e-5))


def _spread(n_knots: int, size: int) -> Array:
    """``(size, n_knots)`` float32 weights that interpolate knots smoothly onto pixel centres."""
    position = (np.arange(size) + 0.5) / size * (n_knots - 1)
    left = np.minimum(position.astype(int), n_knots - 2)
    share = position - left
    share = share * share * (3 - 2 * share)
    weights = np.zeros((size, n_knots), np.float32)
    weights[np.arange(size), left] = 1 - share
    weights[np.arange(size), left + 1] = share
    return weights
