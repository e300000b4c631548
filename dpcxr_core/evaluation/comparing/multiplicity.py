"""p-values of many tests, adjusted within a family that is stated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from dpcxr_core.config import UserError

Adjustment = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p: calling every test at or below 0.05 leaves at most 5% of false alarms among the calls, on average.

    For exploring many gaps. It holds for independent tests and for tests that err together in the same direction.

    Args:
        p: ``(n_tests,)`` in [0, 1]; NaN where a test could not be made. Those do not count as tests, and stay NaN.

    Raises:
        UserError: A p is outside [0, 1].

    Source:
        Benjamini and Hochberg (1995), Journal of the Royal Statistical Society B 57(1).

    Example:
        >>> benjamini_hochberg([0.01, 0.04, float("nan"), 0.03]).tolist()
        [0.03, 0.04, nan, 0.04]
    """
    return _of_the_defined(p, false_discovery_control)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p: calling every test at or below 0.05 risks any false alarm at all with a chance of at most 5%.

    For a few headline claims. It holds however the tests depend on each other.

    Args:
        p: As for ``benjamini_hochberg``.

    Raises:
        UserError: A p is outside [0, 1].

    Source:
        Holm (1979), Scandinavian Journal of Statistics 6(2).

    Example:
        >>> holm([0.01, 0.04, float("nan"), 0.03]).tolist()
        [0.03, 0.06, nan, 0.06]
    """

    def step_down(p: NDArray[np.float64]) -> NDArray[np.float64]:
        order = np.argsort(p, kind="stable")
        still_open = np.arange(p.size, 0, -1)
        adjusted = np.empty_like(p)
        adjusted[order] = np.minimum(1, np.maximum.accumulate(still_open * p[order]))
        return adjusted

    return _of_the_defined(p, step_down)


def with_adjusted_p(table: pd.DataFrame, family: str, adjust: Adjustment) -> pd.DataFrame:
    """``table`` with ``family``, ``p_adjusted`` and ``n_in_family``, how many of its tests count.

    Args:
        table: One family, the tests of one question, a test a row; holds ``p``.
        family: What to call it. State it before looking at the p-values, and show it with them.
        adjust: ``benjamini_hochberg`` or ``holm``.

    Raises:
        UserError: A p is outside [0, 1].
    """
    p = table["p"].to_numpy(dtype=float)
    return table.assign(family=family, p_adjusted=adjust(p), n_in_family=int(np.sum(~np.isnan(p))))


def _of_the_defined(p: ArrayLike, adjust: Adjustment) -> NDArray[np.float64]:
    adjusted = np.array(p, dtype=float)
    defined = ~np.isnan(adjusted)
    if ((adjusted[defined] < 0) | (adjusted[defined] > 1)).any():
        raise UserError(f"p must lie in [0, 1]; got {adjusted[defined].min()} to {adjusted[defined].max()}")
    if defined.any():
        adjusted[defined] = adjust(adjusted[defined])
    return adjusted
