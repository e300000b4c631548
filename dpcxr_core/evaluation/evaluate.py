"""A metrics table from one run's scores: every metric and gap, each with its interval by patient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import FINDINGS, EvaluationChoice, UserError
from dpcxr_core.evaluation.comparing.gaps import difference_rows, gap_rows, range_rows, worst_group_rows
from dpcxr_core.evaluation.comparing.grouped import GroupedDraws, Measure, Measured, group_rows, grouped_draws
from dpcxr_core.evaluation.draws import Draws, draws_of_columns
from dpcxr_core.evaluation.group_metrics import RATE_METRICS, SCORE_METRICS, rate_metrics, score_metrics
from dpcxr_core.evaluation.resampling.patients import Resamples, of_images
from dpcxr_core.evaluation.scored_images import ScoredImages, scored_images, shared_resamples
from dpcxr_core.evaluation.statistics.probability_calibration import pooled_bin_edges
from dpcxr_core.tables import METRICS, checked


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one run's scores say.

    Attributes:
        metrics: METRICS table of all its data sets.
        draws: By data set, the resamples behind AUROC, TPR and FPR.
    """

    metrics: pd.DataFrame
    draws: dict[str, Draws]


def evaluate(
    scores: pd.DataFrame,
    cohort: pd.DataFrame,
    choice: EvaluationChoice,
    thresholds: Mapping[str, float],
) -> Evaluation:
    """The metrics of one run, each number with its interval and, where needed, a reason; and the draws behind them.

    For each data set, each finding scored and "macro" (their mean), and each group column of ``choice``:

    ====================================================  ===========================  ============================
    metric                                                group_column                 group_value
    ====================================================  ===========================  ============================
    ``SCORE_METRICS``, ``RATE_METRICS``                   all, and each of ``choice``  each group
    ``auroc_difference``                                  sex, age_band, view          "F-M", "70+ - 0-39", "AP-PA"
    ``auroc_range``                                       each of ``choice``           "max-min"
    ``tpr_difference``, ``fpr_difference``,               each of ``choice``           "max-min"
    ``equalized_odds_difference`` (the larger of both),
    ``equalized_odds_difference_mean``,
    ``ppv_difference``, ``selection_rate_difference``,
    ``ece_difference``,
    ``calibration_in_the_large_difference``
    ``worst_group_auroc``                                 each of ``choice``           "min"
    ====================================================  ===========================  ============================

    Rates and what is made of them are NaN without a threshold. Underdiagnosis is the FPR of "no_finding".

    Promise:
        The value is the statistic of the data. ``low`` and ``high`` are the 2.5th and 97.5th percentiles of
        bootstrap resamples of patients within strata of sex and age band, the same resamples for all findings
        and groups, and for every run scored on the same patients. A group in which fewer than 10 patients have a
        positive, or fewer than 10 a negative, has a NaN and a reason. A macro mean takes the same findings in
        every group compared. The "max-min" gaps, never negative, have the intervals of ``gaps.gap_interval``
        and, as ``noise_floor``, the gap to expect with no true difference. ECE and its gap have neither, as ECE
        is biased up, the more the smaller the group; nor has a value on which all resamples agree, or a gap of
        a finding that compares a group in which they do.

    Args:
        scores: SCORES table of one run, of any number of data sets.
        cohort: COHORT table that holds at least the images scored.
        choice: Resamples, groups and bins.
        thresholds: Score at or above which a finding is predicted; NaN or absent where there is none.

    Returns:
        In gap rows ``n`` counts the images of the groups compared and ``n_positive`` the positives of the group
        with fewest; in macro rows ``n_positive`` is that of the rarest finding. Counts are exact: pass them
        through ``suppress_small`` before they are shown.

    Raises:
        UserError: As ``scored_images``; or a threshold is for no known finding.
    """
    unknown = sorted(set(thresholds) - set(FINDINGS))
    if unknown:
        raise UserError(f"decision thresholds must be for findings among {FINDINGS}; got {unknown}")
    tables, draws = [], {}
    for images in scored_images(scores, cohort, choice):
        columns = grouped_metrics(images, shared_resamples(images, choice), choice, thresholds)
        rows = [row for by_metric in columns for row in _rows(by_metric)]
        tables.append(pd.DataFrame(rows).assign(run_id=images.run_id, dataset=images.dataset))
        draws[images.dataset] = draws_of_columns(images.run_id, images.dataset, columns)
    metrics = pd.concat(tables, ignore_index=True)[list(METRICS.columns)]
    return Evaluation(checked(metrics, METRICS), draws)


def grouped_metrics(
    images: ScoredImages, resamples: Resamples, choice: EvaluationChoice, thresholds: Mapping[str, float]
) -> list[dict[str, GroupedDraws]]:
    """Every metric, by name, of the groups of each column of ``images``."""
    measure = _measure(images, resamples, choice, thresholds)
    metrics = SCORE_METRICS + RATE_METRICS
    return [grouped_draws(images, column, metrics, len(resamples.weights), measure) for column in images.columns]


def _measure(
    images: ScoredImages, resamples: Resamples, choice: EvaluationChoice, thresholds: Mapping[str, float]
) -> Measure:
    labelled = ~np.isnan(images.y_true)
    pooled_edges = {
        f: pooled_bin_edges(images.y_score[has_label, f], choice.n_calibration_bins)
        for f, has_label in enumerate(labelled.T)
        if has_label.any()
    }

    def measure(f: int, rows: NDArray) -> dict[str, Measured]:
        y_true, y_score, of_rows = images.y_true[rows, f], images.y_score[rows, f], of_images(resamples, rows)
        rates = rate_metrics(y_true, y_score, of_rows, thresholds.get(images.findings[f], math.nan))
        return score_metrics(y_true, y_score, of_rows, pooled_edges[f]) | rates

    return measure


def _rows(by_metric: Mapping[str, GroupedDraws]) -> list[dict[str, Any]]:
    rows = [row for metric, grouped in by_metric.items() for row in group_rows(grouped, metric)]
    aurocs = by_metric["auroc"]
    if len(aurocs.column.groups) < 2:
        return rows
    compared = difference_rows(aurocs, "auroc_difference") + range_rows(aurocs) + worst_group_rows(aurocs)
    return rows + compared + gap_rows(by_metric)
