"""Metrics and gaps within each level of another column: what is left of a gap when case mix is held still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from dpcxr_core.config import EvaluationChoice
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.scored_images import scored_images


def evaluate_within(
    scores: pd.DataFrame,
    cohort: pd.DataFrame,
    choice: EvaluationChoice,
    thresholds: Mapping[str, float] | None,
    control_column: str = "view",
) -> pd.DataFrame:
    """The metrics table of ``evaluate`` for each level of ``control_column``, on the images of that level alone.

    Bedside (AP) images are of sicker and older patients, and harder to read. A gap between groups that is gone within
    AP and within PA came from who was taken at the bedside. fairlearn calls such columns control features.

    Args:
        scores: SCORES table of one run, of any number of data sets.
        cohort: COHORT table that holds at least the images scored.
        choice: As for ``evaluate``; ``control_column`` need not be among its group columns.
        thresholds: As for ``evaluate``; the same at every level.
        control_column: "view", or any column that ``choice`` may name.

    Returns:
        METRICS table; ``group_column`` is "sex within AP", "all within PA" and so on. A macro mean takes the findings
        that can be measured in every group of its level, so that it may differ between levels.

    Raises:
        UserError: As ``evaluate``.
    """
    parted = scored_images(scores, cohort, replace(choice, group_columns=(control_column,)))
    others = replace(choice, group_columns=tuple(each for each in choice.group_columns if each != control_column))
    tables = []
    for images in parted:
        of_dataset = scores[scores["dataset"] == images.dataset]
        for column in images.columns[1:]:
            for level in column.groups:
                inside = of_dataset["image_id"].isin(images.image_ids[column.of_image == level])
                if inside.any():
                    metrics = evaluate(of_dataset[inside], cohort, others, thresholds).metrics
                    tables.append(metrics.assign(group_column=metrics["group_column"] + f" within {level}"))
    return pd.concat(tables, ignore_index=True)
