"""A metrics table from one run's scores: AUROC, rates and gaps, each with its interval by patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.evaluation.comparing.gaps import auroc_range_rows, difference_rows, rate_gap_rows, weighted_share
from dpcxr_core.evaluation.comparing.grouped import GroupedDraws, group_rows, grouped_draws
from dpcxr_core.evaluation.groups import GROUP_COLUMNS, GroupColumn
from dpcxr_core.evaluation.resampling.patients import data_then_resamples, resampling_rng
from dpcxr_core.evaluation.scored_images import ScoredImages, scored_images
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.tables import METRICS, checked


def evaluate(
    scores: pd.DataFrame,
    cohort: pd.DataFrame,
    *,
    n_resamples: int,
    seed: int,
    decision_thresholds: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """The metrics table of one run: each number with its interval and, where needed, a reason.

    For each data set, each finding scored and "macro" (their mean):

    =============================  ==========================  =========================================
    metric                         group_column                group_value
    =============================  ==========================  =========================================
    ``auroc``                      all, sex, age_band          each group
    ``auroc_difference``           sex, age_band               "F-M"; "70+ - 0-39" (oldest - youngest)
    ``auroc_range``                sex, age_band               "max-min"
    ``tpr``, ``fpr``               all, sex, age_band          each group
    ``tpr_difference``             sex, age_band               "max-min"
    ``equalized_odds_difference``  sex, age_band               "max-min" (the larger of TPR's and FPR's)
    =============================  ==========================  =========================================

    The last three rows need ``decision_thresholds``.

    Promise:
        The value is the statistic of the data. ``low`` and ``high`` are the 2.5th and 97.5th percentiles of
        ``n_resamples`` bootstrap resamples of patients, the same resamples for all findings and groups, and
        for every run scored on the same patients with the same seed. A group with fewer than 10 positives
        or 10 negatives has a NaN and a reason. A macro mean takes the same findings in every group
        compared. The "max-min" gaps, never negative, have the intervals of ``fairness.gap_interval``, and
        their ``reason`` gives the gap expected with no true difference.

    Args:
        scores: SCORES table of one run, of any number of data sets.
        cohort: COHORT table that holds at least the images scored.
        n_resamples: Bootstrap resamples; 2000 for a claim, a few hundred for a look.
        seed: Seeds the resamples, not negative.
        decision_thresholds: Score at or above which a finding is predicted, from ``youden_thresholds``.

    Returns:
        METRICS table. In gap rows ``n`` counts the images of the groups compared and ``n_positive`` the
        positives of the group with fewest; in macro rows ``n_positive`` is that of the rarest finding.
        Counts are exact: pass them through ``suppress_small`` before they are shown.

    Raises:
        UserError: As ``scored_images`` and ``patient_weights``; or a threshold is for no known finding.
    """
    unknown = sorted(set(decision_thresholds or {}) - set(FINDINGS))
    if unknown:
        raise UserError(f"decision_thresholds must be for findings among {FINDINGS}; got {unknown}")
    tables = []
    for images in scored_images(scores, cohort):
        weights = data_then_resamples(images.patient_ids, n_resamples, resampling_rng(seed, images.dataset))
        rows: list[dict[str, Any]] = []
        for column in GROUP_COLUMNS:
            rows += _auroc_rows(images, column, weights)
            if decision_thresholds is not None:
                rows += _rate_rows(images, column, weights, decision_thresholds)
        tables.append(pd.DataFrame(rows).assign(run_id=images.run_id, dataset=images.dataset))
    return checked(pd.concat(tables, ignore_index=True)[list(METRICS.columns)], METRICS)


def grouped_aurocs(images: ScoredImages, column: GroupColumn, weights: NDArray) -> GroupedDraws:
    """AUROC of every group and finding, on the data and on each resample."""

    def statistic(y_true: NDArray, f: int, weights: NDArray) -> NDArray[np.float64]:
        return weighted_aurocs(y_true, images.y_score[:, f], weights)

    return grouped_draws(images, column, weights, statistic)


def _auroc_rows(images: ScoredImages, column: GroupColumn, weights: NDArray) -> list[dict[str, Any]]:
    aurocs = grouped_aurocs(images, column, weights)
    rows = group_rows(aurocs, "auroc")
    if column.contrast is not None:
        rows += difference_rows(aurocs, "auroc_difference") + auroc_range_rows(aurocs)
    return rows


def _rate_rows(
    images: ScoredImages, column: GroupColumn, weights: NDArray, decision_thresholds: Mapping[str, float]
) -> list[dict[str, Any]]:
    cuts = np.array([decision_thresholds.get(finding, np.nan) for finding in images.findings])
    y_pred = images.y_score >= cuts
    unmeasurable = {
        finding: "no decision threshold" for finding, cut in zip(images.findings, cuts, strict=True) if np.isnan(cut)
    }

    def rates(label: int) -> GroupedDraws:
        def statistic(y_true: NDArray, f: int, weights: NDArray) -> NDArray[np.float64]:
            return weighted_share(y_true == label, y_pred[:, f], weights)

        return grouped_draws(images, column, weights, statistic, unmeasurable)

    tprs, fprs = rates(label=1), rates(label=0)
    rows = group_rows(tprs, "tpr") + group_rows(fprs, "fpr")
    return rows if column.contrast is None else rows + rate_gap_rows(tprs, fprs)
