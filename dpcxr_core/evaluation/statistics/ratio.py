"""Division that is undefined, not an error, where nothing is there to divide by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ratio(numerator: NDArray, denominator: NDArray) -> NDArray[np.float64]:
    """``numerator / denominator``, of arrays of one shape; NaN where the denominator is not above 0."""
    undefined = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) > 0)
