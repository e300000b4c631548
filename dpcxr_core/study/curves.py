"""Curves of one run by group of patients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from dpcxr_core.evaluation.fairness.group_curves import calibration_by_group, roc_by_group
from dpcxr_core.evaluation.scored_images import scored_images
from dpcxr_core.evaluation.small_counts import hidden_by_row
from dpcxr_core.study.evaluating import cohort_tested_on, metrics_table
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.scores import scores_on


def curves_by_group(folder: Path, places: StudyPlaces, column: str, finding: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``roc_by_group`` and ``calibration_by_group`` of one run on the internal test set.

    There are no calibration curves where the positives of any group stay hidden, as shares of positives tell them.

    Args:
        folder: Record folder.
        places: Of the study.
        column: Group column.
        finding: One of ``config.FINDINGS``; a mean over findings has no curve.
    """
    scores, choice = (
        scores_on(folder, places.private_dataset, places),
        replace(places.evaluation, group_columns=(column,)),
    )
    (images,) = scored_images(scores[scores["finding"] == finding], cohort_tested_on(places), choice)
    parts = images.y_true[:, 0], images.y_score[:, 0], images.columns[1].of_image, images.patient_ids
    calibration = calibration_by_group(*parts, choice.n_calibration_bins)
    metrics = metrics_table([folder], places).query("dataset == @places.private_dataset")
    asked = (metrics["finding"] == finding) & (metrics["group_column"] == column)
    hidden = hidden_by_row(metrics).loc[asked, "positives"].any()
    return roc_by_group(*parts), calibration[:0] if hidden else calibration
