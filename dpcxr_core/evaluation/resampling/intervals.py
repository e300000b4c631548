"""Intervals from bootstrap resamples, some of which may be undefined."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

COVERAGE = 0.95
_TAILS = (0.025, 0.975)


def defined_resamples(resampled: ArrayLike) -> tuple[NDArray[np.float64], str]:
    """The resamples that are not NaN, and the share that is, in words, when it is above 5%."""
    resampled = np.asarray(resampled, dtype=float)
    defined = resampled[~np.isnan(resampled)]
    share_undefined = np.isnan(resampled).mean()
    return defined, f"{share_undefined:.0%} of resamples undefined" if share_undefined > 0.05 else ""


def percentile_interval(resampled: ArrayLike) -> tuple[float, float, str]:
    """The 2.5th and 97.5th percentiles of the resamples that are defined, and what to know about them.

    Args:
        resampled: ``(n_resamples,)``; NaN where a resample left the statistic undefined.

    Returns:
        ``(low, high, reason)``. NaN ends when no resample is defined. ``reason`` gives the share of
        undefined resamples when it is above 5%, and is empty otherwise.
    """
    defined, reason = defined_resamples(resampled)
    if not defined.size:
        return float("nan"), float("nan"), reason
    low, high = np.quantile(defined, _TAILS)
    return float(low), float(high), reason
