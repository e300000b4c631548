"""Metrics and gaps within each view: what is left of a gap when who is taken at the bedside is held still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from dpcxr_core.config import EvaluationChoice
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.scored_images import scored_images

_CONTROL = "view"


def evaluate_within(
    scores: pd.DataFrame,
    cohort: pd.DataFrame,
    choice: EvaluationChoice,
    thresholds: Mapping[str, float],
) -> pd.DataFrame:
    """The metrics table of ``evaluate`` for each view (AP, PA), on the images of that view alone.

    Bedside (AP) images are of sicker and older patients, and harder to read. A gap between groups that is gone within
    AP and within PA came from who was taken at the bedside. fairlearn calls such a column a control feature.

    Args:
        scores: SCORES table of one run, of any number of data sets.
        cohort: COHORT table that holds at least the images scored.
        choice: As for ``evaluate``; "view" need not be among its group columns.
        thresholds: As for ``evaluate``; the same for every view.

    Returns:
        METRICS table; ``group_column`` is "sex within AP", "all within PA" and so on. A macro mean takes the findings
        that can be measured in every group of its view, so that it may differ between views.

    Raises:
        UserError: As ``evaluate``.
    """
    parted = scored_images(scores, cohort, replace(choice, group_columns=(_CONTROL,)))
    others = replace(choice, group_columns=tuple(each for each in choice.group_columns if each != _CONTROL))
    tables = []
    for images in parted:
        of_dataset = scores[scores["dataset"] == images.dataset]
        for column in images.columns[1:]:
            for view in column.groups:
                inside = of_dataset["image_id"].isin(images.image_ids[column.of_image == view])
                if inside.any():
                    metrics = evaluate(of_dataset[inside], cohort, others, thresholds).metrics
                    tables.append(metrics.assign(group_column=metrics["group_column"] + f" within {view}"))
    return pd.concat(tables, ignore_index=True)
