"""ROC and calibration curves of groups, so coarse that every step of a curve rests on ten images or more."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_curve

from dpcxr_core.evaluation.groups import MIN_COUNT, too_few
from dpcxr_core.evaluation.statistics.probability_calibration import pooled_bin_edges

_MOST_STEPS = 20


def roc_by_group(y_true: ArrayLike, y_score: ArrayLike, group_of_image: ArrayLike) -> pd.DataFrame:
    """TPR of each group at evenly spaced FPR, interpolated between thresholds.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN; NaN is left out.
        y_score: ``(n_images,)`` scores where labelled.
        group_of_image: ``(n_images,)`` names; missing for images of no group.

    Returns:
        ``group fpr tpr``. From one FPR to the next come 10 negatives or more, and 20 steps at most. Groups with fewer
        than 10 positives or negatives are left out.
    """
    rows = []
    for group, y, s in _by_group(y_true, y_score, group_of_image):
        n_positive, n_negative = int(y.sum()), int((1 - y).sum())
        if too_few(n_positive, n_negative):
            continue
        fpr, tpr, _ = roc_curve(y, s, drop_intermediate=False)
        at = np.linspace(0, 1, 1 + min(_MOST_STEPS, n_negative // MIN_COUNT))
        rows.append(pd.DataFrame({"group": group, "fpr": at, "tpr": _at(at, fpr, tpr)}))
    return _table(rows, ["group", "fpr", "tpr"])


def calibration_by_group(y_true: ArrayLike, y_score: ArrayLike, group_of_image: ArrayLike, n_bins: int) -> pd.DataFrame:
    """Share of positives beside the mean score, of each group in bins of score that all groups share.

    Args:
        y_true: As ``roc_by_group``.
        y_score: Probabilities where labelled.
        group_of_image: As ``roc_by_group``.
        n_bins: Bins of equally many of all labelled images.

    Returns:
        ``group mean_score share_positive``, by rising score. Bins with fewer than 10 images of a group are left out.
    """
    y_true, y_score = np.asarray(y_true, dtype=float), np.asarray(y_score, dtype=float)
    labelled = ~np.isnan(y_true)
    if not labelled.any():
        return _table([], ["group", "mean_score", "share_positive"])
    edges = pooled_bin_edges(y_score[labelled], n_bins)
    rows = []
    for group, y, s in _by_group(y_true, y_score, group_of_image):
        bins = pd.DataFrame({"mean_score": s, "share_positive": y}).groupby(np.searchsorted(edges, s, side="right"))
        rows.append(bins.mean()[bins.size() >= MIN_COUNT].assign(group=group))
    return _table(rows, ["group", "mean_score", "share_positive"])


def _by_group(y_true: ArrayLike, y_score: ArrayLike, group_of_image: ArrayLike) -> list[tuple[str, NDArray, NDArray]]:
    """Each group with the labels and scores of its labelled images."""
    images = pd.DataFrame({"y": np.asarray(y_true, dtype=float), "s": y_score, "group": group_of_image})
    parts = images.dropna(subset=["y", "group"]).groupby("group")
    return [(str(group), part["y"].to_numpy(), part["s"].to_numpy(dtype=float)) for group, part in parts]


def _at(at: NDArray, fpr: NDArray, tpr: NDArray) -> NDArray[np.float64]:
    """TPR at ``at``; where the curve rises straight up, its upper end, but at 0 the lower one."""
    return np.concatenate([[0.0], np.interp(at[1:], fpr, tpr)])


def _table(rows: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)
