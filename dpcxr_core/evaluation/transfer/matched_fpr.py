"""TPR at a false positive rate that is given, whatever threshold that takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.evaluation.transfer.resampled_scores import ResampledScores


def tpr_at_fpr(scores: ResampledScores, fpr: ArrayLike) -> NDArray[np.float64]:
    """TPR on the ROC curve at ``fpr``, on the data and on each resample.

    Only ranking decides it: no threshold is carried over. Between two thresholds the curve is a straight line, which
    is what a coin between the two would give.

    Args:
        scores: Of one finding at one hospital.
        fpr: ``(1 + n_resamples,)`` in [0, 1], or one for all: the false positive rates to meet.

    Returns:
        ``(1 + n_resamples,)`` in [0, 1]; NaN where a resample lacks a class or ``fpr`` is NaN.

    Source:
        Fawcett (2006), "An introduction to ROC analysis", Pattern Recognition Letters 27(8), section 10.
    """
    falling = np.argsort(-scores.y_score, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(scores.y_score[falling]) != 0, True))
    positive = scores.y_true[falling]
    weights = scores.only(falling).weights
    wanted = np.broadcast_to(np.asarray(fpr, dtype=float), len(weights))
    tprs = np.full(len(weights), np.nan)
    for row, each in enumerate(weights):
        caught = np.append(0, np.cumsum(each * positive)[last_of_ties])
        alarms = np.append(0, np.cumsum(each * (1 - positive))[last_of_ties])
        if caught[-1] > 0 and alarms[-1] > 0:
            tprs[row] = np.interp(wanted[row], alarms / alarms[-1], caught / caught[-1])
    return tprs
