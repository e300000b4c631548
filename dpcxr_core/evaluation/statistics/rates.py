"""Rates of decisions, from counts that may be sums over any resample of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.evaluation.statistics.ratio import ratio

UNDEFINED_RATES = {
    "tpr": "no positive",
    "fpr": "no negative",
    "ppv": "no image predicted positive",
    "npv": "no image predicted negative",
    "f1": "no image positive or predicted positive",
    "selection_rate": "no labelled image",
}


def confusion_features(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.bool_]:
    """``(n_images, 4)``: whether each image is a true positive, false positive, true negative, false negative.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN; an image without a reference label is none of the four.
        y_pred: ``(n_images,)`` of bool.
    """
    y_true, y_pred = np.asarray(y_true, dtype=float), np.asarray(y_pred, dtype=bool)
    positive, negative = y_true == 1, y_true == 0
    return np.column_stack([positive & y_pred, negative & y_pred, negative & ~y_pred, positive & ~y_pred])


def rates_from_counts(counts: NDArray) -> dict[str, NDArray[np.float64]]:
    """TPR, FPR, PPV, NPV, F1 and selection rate, each ``(...)`` in [0, 1]; NaN where nothing is there to divide by.

    Why one of them is NaN: ``UNDEFINED_RATES``.

    Args:
        counts: ``(..., 4)`` of (weighted) true positives, false positives, true negatives, false negatives.
    """
    tp, fp, tn, fn = np.moveaxis(np.asarray(counts, dtype=float), -1, 0)
    shares = {
        "tpr": (tp, tp + fn),
        "fpr": (fp, fp + tn),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
        "f1": (2 * tp, 2 * tp + fp + fn),
        "selection_rate": (tp + fp, tp + fp + tn + fn),
    }
    return {name: ratio(part, whole) for name, (part, whole) in shares.items()}
