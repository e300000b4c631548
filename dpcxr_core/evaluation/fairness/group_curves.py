"""ROC and calibration curves of groups, so coarse that no step of a curve rests on fewer than ten images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_curve

from dpcxr_core.evaluation.groups import MIN_COUNT, unmeasurable
from dpcxr_core.evaluation.statistics.probability_calibration import pooled_bin_edges

_MOST_STEPS = 20


def roc_by_group(
    y_true: ArrayLike, y_score: ArrayLike, group_of_image: ArrayLike, patient_ids: ArrayLike
) -> pd.DataFrame:
    """TPR of each group at evenly spaced FPR, interpolated between thresholds.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN; NaN is left out.
        y_score: ``(n_images,)`` scores where labelled.
        group_of_image: ``(n_images,)`` names; missing for images of no group.
        patient_ids: ``(n_images,)``.

    Returns:
        ``group fpr tpr``. From one FPR to the next come 10 negatives or more, and 20 steps at most. Groups that
        ``groups.unmeasurable`` names are left out.
    """
    rows = []
    for group, y, s in _by_group(y_true, y_score, group_of_image, patient_ids):
        fpr, tpr, _ = roc_curve(y, s, drop_intermediate=False)
        at = np.linspace(0, 1, 1 + min(_MOST_STEPS, int((1 - y).sum()) // MIN_COUNT))
        rows.append(pd.DataFrame({"group": group, "fpr": at, "tpr": _at(at, fpr, tpr)}))
    return _table(rows, ["group", "fpr", "tpr"])


def calibration_by_group(
    y_true: ArrayLike, y_score: ArrayLike, group_of_image: ArrayLike, patient_ids: ArrayLike, n_bins: int
) -> pd.DataFrame:
    """Share of positives beside the mean score, of each group in bins of score that all groups share.

    Args:
        y_true: As ``roc_by_group``.
        y_score: Probabilities where labelled.
        group_of_image: As ``roc_by_group``.
        patient_ids: As ``roc_by_group``.
        n_bins: Bins of equally many of all labelled images.

    Returns:
        ``group mean_score share_positive``, by rising score. Where a bin would have fewer than 10 positives or 10
        negatives of a group, it is one with its neighbour. Groups that ``groups.unmeasurable`` names are left out.
    """
    y_true, y_score = np.asarray(y_true, dtype=float), np.asarray(y_score, dtype=float)
    labelled = ~np.isnan(y_true)
    if not labelled.any():
        return _table([], ["group", "mean_score", "share_positive"])
    edges = pooled_bin_edges(y_score[labelled], n_bins)
    rows = []
    for group, y, s in _by_group(y_true, y_score, group_of_image, patient_ids):
        bins = _large_enough(np.searchsorted(edges, s, side="right"), y)
        rows.append(pd.DataFrame({"mean_score": s, "share_positive": y}).groupby(bins).mean().assign(group=group))
    return _table(rows, ["group", "mean_score", "share_positive"])


def _by_group(
    y_true: ArrayLike, y_score: ArrayLike, group_of_image: ArrayLike, patient_ids: ArrayLike
) -> list[tuple[str, NDArray, NDArray]]:
    """Each group that can be measured with the labels and scores of its labelled images."""
    images = pd.DataFrame(
        {"y": np.asarray(y_true, dtype=float), "s": y_score, "group": group_of_image, "patient": patient_ids}
    )
    parts = images.dropna(subset=["y", "group"]).groupby("group")
    return [
        (str(group), part["y"].to_numpy(), part["s"].to_numpy(dtype=float))
        for group, part in parts
        if not unmeasurable(part["y"].to_numpy(), part["patient"].to_numpy())
    ]


def _large_enough(bins: NDArray, y: NDArray) -> NDArray[np.int64]:
    """``bins`` with those joined to the next that have fewer than 10 positives or 10 negatives; the last to its own."""
    joined = np.zeros(bins.size, dtype=np.int64)
    number, counts = 0, np.zeros(2, dtype=np.int64)
    for each in np.unique(bins):
        inside = bins == each
        joined[inside] = number
        counts += (np.sum(y[inside] == 1), np.sum(y[inside] == 0))
        if counts.min() >= MIN_COUNT:
            number, counts = number + 1, np.zeros(2, dtype=np.int64)
    return np.minimum(joined, max(number - 1, 0))


def _at(at: NDArray, fpr: NDArray, tpr: NDArray) -> NDArray[np.float64]:
    """TPR at ``at``; where the curve rises straight up, its upper end, but at 0 the lower one."""
    return np.concatenate([[0.0], np.interp(at[1:], fpr, tpr)])


def _table(rows: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)
