"""Value and interval of a statistic that duplicates bias, from leaving out groups of patients."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.resampling.intervals import COVERAGE


def jackknife_groups(patient_ids: ArrayLike, n_groups: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``(n_images,)`` random group of each image's patient, from 0; groups differ by one patient at most.

    With fewer than ``n_groups`` patients, each is a group.

    Args:
        patient_ids: ``(n_images,)``.
        n_groups: At least 2.
        rng: Source of the draw.

    Raises:
        UserError: There are fewer than two patients, or groups.
    """
    patients, codes = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
    n_groups = min(n_groups, len(patients))
    if n_groups < 2:
        raise UserError(f"a jackknife needs at least two groups of patients; got {n_groups}")
    return (rng.permutation(len(patients)) % n_groups)[codes]


def jackknife_interval(value: float, left_out: NDArray) -> tuple[float, float, float]:
    """``value`` less its bias, and the ends of its 95% interval.

    A bootstrap resample holds patients twice. For a statistic that compares images with each other, such as the
    effective dimension, that is a smaller sample: resamples lie below the value, which itself lies below the truth,
    and their percentiles miss it. Leaving out groups repeats no patient, and how the statistic falls with fewer of
    them tells its bias.

    Args:
        value: The statistic of all images.
        left_out: ``(n_groups,)``: the statistic without each group, of ``jackknife_groups``.

    Returns:
        ``(value, low, high)``, with Student's t of ``n_groups - 1`` degrees of freedom; NaN where a part is NaN.

    Source:
        Kott (2001), "The delete-a-group jackknife", Journal of Official Statistics 17(4); bias: Quenouille (1956).
    """
    n_groups, mean = len(left_out), float(np.mean(left_out))
    corrected = n_groups * value - (n_groups - 1) * mean
    standard_error = math.sqrt((n_groups - 1) / n_groups * float(np.sum((left_out - mean) ** 2)))
    half = float(stats.t.ppf((1 + COVERAGE) / 2, n_groups - 1)) * standard_error
    return corrected, corrected - half, corrected + half
