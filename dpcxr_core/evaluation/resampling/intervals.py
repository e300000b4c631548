"""Intervals from bootstrap resamples, some of which may be undefined."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

COVERAGE = 0.95
_TAILS = (0.025, 0.975)
ALL_AGREE = "all resamples agree: no interval"


def defined_resamples(resampled: ArrayLike) -> tuple[NDArray[np.float64], str]:
    """The resamples that are not NaN, and the share that is, in words, when it is above 5%."""
    resampled = np.asarray(resampled, dtype=float)
    defined = resampled[~np.isnan(resampled)]
    share_undefined = (resampled.size - defined.size) / resampled.size
    return defined, f"{share_undefined:.0%} of resamples undefined" if share_undefined > 0.05 else ""


def varying_resamples(resampled: ArrayLike) -> tuple[NDArray[np.float64], str]:
    """As ``defined_resamples``, in ascending order, but no resample at all where they agree, and that in words.

    Resamples of ten hits out of ten are ten out of ten each: they cannot tell how far off the truth is.
    """
    defined, reason = defined_resamples(resampled)
    defined.sort()
    if defined.size and defined[0] == defined[-1]:
        return defined[:0], ALL_AGREE
    return defined, reason


def quantile_of_sorted(values: NDArray[np.float64], q: float) -> float:
    """As ``np.quantile`` of ``(n,)`` values in ascending order, n > 0, to the bit.

    An evaluation asks thousands of times for that of a few hundred values, where ``np.quantile`` mostly prepares.
    """
    place = q * (values.size - 1)
    below = int(place)
    low, high = values[below], values[min(below + 1, values.size - 1)]
    share = place - below
    return float(low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share))


def percentile_interval(resampled: ArrayLike) -> tuple[float, float, str]:
    """The 2.5th and 97.5th percentiles of the resamples that are defined, and what to know about them.

    Args:
        resampled: ``(n_resamples,)``; NaN where a resample left the statistic undefined.

    Returns:
        ``(low, high, reason)``. NaN ends when no resample is defined or all agree. ``reason`` says that all agree, or
        gives the share of undefined resamples when it is above 5%, and is empty otherwise.
    """
    varying, reason = varying_resamples(resampled)
    if not varying.size:
        return float("nan"), float("nan"), reason
    low, high = (quantile_of_sorted(varying, tail) for tail in _TAILS)
    return low, high, reason
