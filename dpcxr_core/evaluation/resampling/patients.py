"""Bootstrap resamples of patients, and the intervals they give."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.config import UserError

COVERAGE = 0.95
_TAILS = (0.025, 0.975)


def resampling_rng(seed: int, dataset: str) -> np.random.Generator:
    """Generator that depends on the seed and the data set alone.

    So every run scored on a data set meets the same resamples, which pairs runs, and adding a data set
    changes no interval of another.
    """
    if seed < 0:
        raise UserError(f"seed must not be negative; got {seed}")
    return np.random.default_rng([seed, *dataset.encode()])


def patient_weights(patient_ids: ArrayLike, n_resamples: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """How often each image enters each bootstrap resample, when whole patients are drawn.

    Images of one patient resemble each other, so drawing images one by one pretends to more evidence than
    there is. Each resample draws as many patients as there are, with replacement; a patient brings all of
    their images.

    Args:
        patient_ids: ``(n_images,)``, one identifier per image.
        n_resamples: Number of resamples, at least 1.
        rng: Source of the draws.

    Returns:
        ``(n_resamples, n_images)`` uint16. Images of one patient have equal columns.

    Raises:
        UserError: ``n_resamples`` is below 1, there is no image, or an image has no patient.

    Source:
        Davison and Hinkley (1997), "Bootstrap methods and their application", section 3.8.
    """
    codes, patients = pd.factorize(np.asarray(patient_ids, dtype=object), sort=True)
    if n_resamples < 1:
        raise UserError(f"n_resamples must be at least 1; got {n_resamples}")
    if codes.size == 0 or codes.min() < 0:
        raise UserError("patient_ids needs at least one image, and a patient for every image")
    weights = np.empty((n_resamples, codes.size), dtype=np.uint16)
    for row in weights:
        drawn = rng.integers(len(patients), size=len(patients))
        row[:] = np.bincount(drawn, minlength=len(patients))[codes]
    return weights


def data_then_resamples(patient_ids: ArrayLike, n_resamples: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """``patient_weights`` below a row of ones, so that one computation gives the value and its resamples."""
    resamples = patient_weights(patient_ids, n_resamples, rng)
    return np.concatenate([np.ones_like(resamples[:1]), resamples])


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
