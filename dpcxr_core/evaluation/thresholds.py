"""Decision thresholds, chosen once on the source's validation images and frozen from then on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.evaluation.scored_images import one_run_id
from dpcxr_core.tables import SCORES, checked


def youden_thresholds(scores_valid: pd.DataFrame) -> dict[str, float]:
    """For each finding, the score at or above which ``tpr - fpr`` is largest on validation images.

    Choosing on the images that are evaluated would flatter the model, so the thresholds come from the
    validation images of the data set trained on, and hold unchanged for every test and external set.

    Args:
        scores_valid: SCORES table of one run and one data set: its validation images.

    Returns:
        A decision threshold in [0, 1] per finding in the table: always a score that occurs, the highest
        among equals. NaN for a finding without positives or without negatives.

    Raises:
        UserError: The table does not hold its contract, one run and one data set.

    Source:
        Youden (1950), "Index for rating diagnostic tests", Cancer 3(1).
    """
    scores_valid = checked(scores_valid, SCORES)
    one_run_id(scores_valid)
    datasets = scores_valid["dataset"].unique().tolist()
    if len(datasets) != 1:
        raise UserError(f"thresholds are chosen on one data set; got {datasets}. Pass the source alone.")
    by_finding = dict(iter(scores_valid.groupby("finding")))
    return {
        finding: _youden_threshold(by_finding[finding]["y_true"].to_numpy(), by_finding[finding]["y_score"].to_numpy())
        for finding in FINDINGS
        if finding in by_finding
    }


def _youden_threshold(y_true: NDArray, y_score: NDArray) -> float:
    """Highest score that maximises ``tpr - fpr``; NaN when a class is missing."""
    positives, negatives = np.sort(y_score[y_true == 1]), np.sort(y_score[y_true == 0])
    if not (positives.size and negatives.size):
        return float("nan")
    candidates = np.unique(np.concatenate([positives, negatives]))[::-1]
    n_true = positives.size - np.searchsorted(positives, candidates, side="left")
    n_false = negatives.size - np.searchsorted(negatives, candidates, side="left")
    # tpr - fpr times both counts: whole numbers, so that equals compare as equal
    return float(candidates[np.argmax(n_true * negatives.size - n_false * positives.size)])
