"""AUROC along age, without age bands whose edges somebody chose."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import EvaluationChoice
from dpcxr_core.evaluation.comparing.grouped import MACRO, metric_row
from dpcxr_core.evaluation.groups import unmeasurable
from dpcxr_core.evaluation.resampling.intervals import percentile_interval
from dpcxr_core.evaluation.resampling.patients import Resamples, of_images
from dpcxr_core.evaluation.scored_images import ScoredImages, scored_images, shared_resamples
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.tables import METRICS, checked

COLUMN = "age_window"
_WIDTH, _STEP = 15, 5  # years


def auroc_by_age_window(scores: pd.DataFrame, cohort: pd.DataFrame, choice: EvaluationChoice) -> pd.DataFrame:
    """AUROC among the patients of each age window, for each finding and macro, with intervals by patient.

    A window is 15 years wide and the next one starts 5 years later, so that neighbouring values share images.

    Args:
        scores: SCORES table of one run, of any number of data sets.
        cohort: COHORT table that holds at least the images scored; those without an age are in no window.
        choice: Resamples, and the age bands and sexes within which patients are drawn; its group columns do not count.

    Returns:
        METRICS table: metric "auroc", group column "age_window", values such as "20-34", youngest first. A window in
        which fewer than 10 patients have a positive, or fewer than 10 a negative, has NaN and a reason. The macro mean
        exists where all findings scored do, so that it means the same along the whole line.

    Raises:
        UserError: As ``scored_images``.
    """
    ages = cohort.set_index("image_id")["age_years"]
    tables = []
    for images in scored_images(scores, cohort, choice):
        resamples = shared_resamples(images, choice)
        rows: list[dict[str, Any]] = []
        for name, inside in _windows(ages.reindex(images.image_ids).to_numpy(dtype=float)):
            rows += _rows(images, of_images(resamples, inside), inside, name)
        table = pd.DataFrame(rows, columns=list(METRICS.columns))
        tables.append(table.assign(run_id=images.run_id, dataset=images.dataset))
    return checked(pd.concat(tables, ignore_index=True), METRICS)


def _windows(ages: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Name and images of each window that starts at a multiple of five years and holds an image."""
    known = ages[~np.isnan(ages)]
    for start in range(0, math.ceil(known.max(initial=-1)) + 1, _STEP):
        inside = np.flatnonzero((ages >= start) & (ages < start + _WIDTH))
        if inside.size:
            yield f"{start}-{start + _WIDTH - 1}", inside


def _rows(images: ScoredImages, resamples: Resamples, inside: NDArray[np.int64], name: str) -> list[dict[str, Any]]:
    """One row a finding, and the macro mean, of the images ``inside`` one window."""
    y_true = images.y_true[inside]
    n_positive, n_negative = np.sum(y_true == 1, axis=0), np.sum(y_true == 0, axis=0)
    reasons = [unmeasurable(labels, resamples.patient_of_image) for labels in y_true.T]
    draws = np.full((len(resamples.weights), len(images.findings) + 1), math.nan)
    for f, reason in enumerate(reasons):
        if not reason:
            y_score = images.y_score[inside, f]
            draws[:, f] = weighted_aurocs(y_true[:, f], y_score, resamples.weights, resamples.patient_of_image)
    draws[:, -1] = draws[:, :-1].mean(axis=1)
    n = [*(n_positive + n_negative), np.sum(~np.isnan(y_true).all(axis=1))]
    reasons.append("a finding cannot be measured" if any(reasons) else "")
    return [
        metric_row(
            draws[0, f],
            percentile_interval(draws[1:, f]),
            finding=finding,
            metric="auroc",
            group_column=COLUMN,
            group_value=name,
            n=n[f],
            n_positive=n_positive[f] if finding != MACRO else n_positive.min(),
            reason=reasons[f],
        )
        for f, finding in enumerate((*images.findings, MACRO))
    ]
