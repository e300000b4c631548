"""A decision threshold chosen at home and carried abroad, beside one chosen anew there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.evaluation.resampling.patients import weighted_sums
from dpcxr_core.evaluation.statistics.rates import confusion_features, rates_from_counts
from dpcxr_core.evaluation.transfer.matched_fpr import tpr_at_fpr
from dpcxr_core.evaluation.transfer.resampled_scores import ResampledScores

METRICS_CARRIED = ("tpr", "fpr", "ppv", "f1", "youden_index")
AT_HOME, TRANSPORTED, RETUNED, AT_HOME_FPR = "at home", "transported", "re-tuned", "at the FPR of home"
NOT_GOT_BACK, LOST_OPERATING_POINT = "not got back by re-tuning", "lost to the operating point"


def operating_point(scores: ResampledScores, decision_threshold: float) -> dict[str, NDArray[np.float64]]:
    """TPR, FPR, PPV, F1 and Youden's index (TPR - FPR) at one threshold: each ``(1 + n_resamples,)``.

    NaN where undefined: without positives, without negatives, without a predicted positive.
    """
    y_pred = scores.y_score >= decision_threshold
    found = rates_from_counts(weighted_sums(scores.resamples, confusion_features(scores.y_true, y_pred)))
    found["youden_index"] = found["tpr"] - found["fpr"]
    return {metric: found[metric] for metric in METRICS_CARRIED}


def transported(
    home: ResampledScores, abroad: ResampledScores, decision_threshold: float, retuned_threshold: float
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """What one finding's threshold does at home and abroad: draws by (where, metric).

    "at home" and "transported" are the same threshold at the two hospitals; "re-tuned" is the threshold chosen by the
    same rule on the validation images of the hospital abroad. "at the FPR of home" is the TPR abroad where its ROC
    curve has the false positive rate of home.

    The loss of Youden's index, which does not depend on prevalence, falls into two parts that add up to it:

    - "not got back by re-tuning": at home minus re-tuned. A weaker ranking abroad, and also chance in the validation
      images that chose the new threshold: with few of them it is above 0 where nothing was lost. What ranking lost is
      told by the drop of AUROC.
    - "lost to the operating point": re-tuned minus transported. Choosing the threshold anew gets it back.

    The thresholds count as given: intervals are about test patients, not about the validation images that chose them.
    With a rule other than "youden" the second part can be negative without any chance in it.

    Args:
        home: Test images of the hospital trained on.
        abroad: Test images of the other hospital.
        decision_threshold: Chosen on validation images of the hospital trained on.
        retuned_threshold: Chosen on validation images of the other hospital; NaN where they hold fewer than 10
            positives or negatives.

    Returns:
        ``(1 + n_resamples,)`` each; what would need a threshold that is NaN is NaN.
    """
    points = {
        AT_HOME: _points(home, decision_threshold),
        TRANSPORTED: _points(abroad, decision_threshold),
        RETUNED: _points(abroad, retuned_threshold),
    }
    index = {where: point["youden_index"] for where, point in points.items()}
    return {
        **{(where, metric): draws for where, point in points.items() for metric, draws in point.items()},
        (AT_HOME_FPR, "tpr"): tpr_at_fpr(abroad, points[AT_HOME]["fpr"]),
        (NOT_GOT_BACK, "youden_index"): index[AT_HOME] - index[RETUNED],
        (LOST_OPERATING_POINT, "youden_index"): index[RETUNED] - index[TRANSPORTED],
    }


def _points(scores: ResampledScores, decision_threshold: float) -> dict[str, NDArray[np.float64]]:
    if np.isnan(decision_threshold):
        return {metric: np.full(len(scores.resamples.weights), np.nan) for metric in METRICS_CARRIED}
    return operating_point(scores, decision_threshold)
