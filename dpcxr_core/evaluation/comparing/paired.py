"""One run against another on the same images."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.grouped import joined, metric_row
from dpcxr_core.evaluation.evaluate import grouped_aurocs
from dpcxr_core.evaluation.groups import ALL
from dpcxr_core.evaluation.resampling.patients import data_then_resamples, percentile_interval, resampling_rng
from dpcxr_core.evaluation.scored_images import ScoredImages, scored_images
from dpcxr_core.tables import METRICS, checked


def paired_difference(
    scores_a: pd.DataFrame, scores_b: pd.DataFrame, cohort: pd.DataFrame, *, n_resamples: int, seed: int
) -> pd.DataFrame:
    """AUROC of run a minus AUROC of the reference run b, per data set, for each finding and macro.

    Both runs score the same images and meet the same resamples of patients, so what makes an image hard
    for both cancels. The interval is about the test patients: another training seed may differ by more.

    Args:
        scores_a: SCORES table of one run.
        scores_b: SCORES table of the reference run, with the same images, findings and labels.
        cohort: COHORT table that holds at least these images.
        n_resamples: Bootstrap resamples.
        seed: Seeds the resamples, not negative.

    Returns:
        METRICS table under a's ``run_id``, metric "auroc_minus_reference", group "all"; ``reason`` names
        the reference run.

    Raises:
        UserError: The runs differ in data sets, images, findings or labels; otherwise as ``evaluate``.
    """
    reference = {images.dataset: images for images in scored_images(scores_b, cohort)}
    ours = scored_images(scores_a, cohort)
    if {images.dataset for images in ours} != set(reference):
        raise UserError(
            f"both runs must be scored on the same data sets; got {[images.dataset for images in ours]} "
            f"and {list(reference)}. Keep those that both have."
        )
    tables = [_one_dataset(images, reference[images.dataset], n_resamples, seed) for images in ours]
    return checked(pd.concat(tables, ignore_index=True)[list(METRICS.columns)], METRICS)


def _one_dataset(a: ScoredImages, b: ScoredImages, n_resamples: int, seed: int) -> pd.DataFrame:
    same = (
        a.findings == b.findings
        and np.array_equal(a.image_ids, b.image_ids)
        and np.array_equal(a.y_true, b.y_true, equal_nan=True)
    )
    if not same:
        raise UserError(
            f"runs {a.run_id!r} and {b.run_id!r} differ in images, findings or labels on {a.dataset!r}. "
            "Score both on the same images."
        )
    weights = data_then_resamples(a.patient_ids, n_resamples, resampling_rng(seed, a.dataset))
    aurocs_a, aurocs_b = grouped_aurocs(a, ALL, weights), grouped_aurocs(b, ALL, weights)
    draws = aurocs_a.draws[:, 0] - aurocs_b.draws[:, 0]
    rows = [
        metric_row(
            draws[0, f],
            percentile_interval(draws[1:, f]),
            finding=finding,
            metric="auroc_minus_reference",
            group_column="all",
            group_value="all",
            n=aurocs_a.n[0, f],
            n_positive=aurocs_a.n_positive[0, f],
            reason=joined(f"reference {b.run_id}", aurocs_a.reasons[0, f]),
        )
        for f, finding in enumerate(aurocs_a.findings)
    ]
    return pd.DataFrame(rows).assign(run_id=a.run_id, dataset=a.dataset)


def verdict_of_interval(value: float, low: float, high: float) -> Literal["better", "worse", "not distinguishable"]:
    """Whether a difference in AUROC has its interval on one side of zero.

    Args:
        value: Difference, from ``paired_difference``; NaN where undefined.
        low: Lower end of its interval.
        high: Upper end of its interval.

    Raises:
        UserError: The ends are in the wrong order.

    Example:
        >>> verdict_of_interval(0.012, -0.001, 0.026)
        'not distinguishable'
    """
    if low > high:
        raise UserError(f"low must not exceed high; got {low} and {high}")
    if np.isnan(value):
        return "not distinguishable"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "not distinguishable"
