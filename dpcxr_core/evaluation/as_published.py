"""The same scores evaluated as the authors' public code does, so that a reader sees what each choice changes.

Not for claims. Where our evaluation differs, and why:

=====================================  ============================================================================
as published                           here otherwise
=====================================  ============================================================================
resamples of images                    of patients: images of one patient resemble each other
value: mean over the resamples         the statistic of the data
threshold: Youden on the test images,  chosen once, on validation images
again in each resample
predicted: a score above the           a score at or above it: a score that occurs, and counts as found
threshold
1e-15 added to denominators            0 / 0 is undefined
parity: of accuracies                  of selection rates
=====================================  ============================================================================
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import EvaluationChoice
from dpcxr_core.evaluation.comparing.gaps import GAP_NAME
from dpcxr_core.evaluation.comparing.grouped import MACRO, compared_and_shared
from dpcxr_core.evaluation.groups import GroupColumn, unmeasurable
from dpcxr_core.evaluation.resampling.intervals import defined_resamples
from dpcxr_core.evaluation.resampling.patients import resampling_rng
from dpcxr_core.evaluation.scored_images import ScoredImages, scored_images
from dpcxr_core.evaluation.statistics.auroc import aurocs_of
from dpcxr_core.evaluation.statistics.ranking import Ranking, rankings

AS_PUBLISHED_METRICS = ("auroc", "accuracy", "tpr", "fpr", "ppv", "f1")
_IN_DENOMINATORS = 1e-15


def as_published(scores: pd.DataFrame, cohort: pd.DataFrame, choice: EvaluationChoice) -> pd.DataFrame:
    """Metrics of one run by finding, sex and age band, as the authors' public code computes them.

    ``tpr`` is their sensitivity, ``fpr`` one minus their specificity. The gaps ("max-min" of the values as
    published, and ``accuracy_parity_difference``, a group's accuracy minus that of all others together) have no
    spread, as theirs have none.

    Taken over from ours, as the authors state nothing: age bands; images without a label are left out; groups without
    positives of 10 patients and negatives of 10 are left out, and macro covers the findings left in every group.
    Not taken over: that a resample without a positive counts as an AUROC of 0 for all findings.

    Args:
        scores: SCORES table of one run.
        cohort: COHORT table that holds at least the images scored.
        choice: Ours: the age bands, the number of resamples, of images here, of which the authors take 1000, and
            their seed.

    Returns:
        Columns ``dataset finding metric group_column group_value as_published sd low high``: mean, standard
        deviation, 2.5th and 97.5th percentiles over the resamples.

    Raises:
        UserError: As ``scored_images``.

    Source:
        Code of Tayebi Arasteh et al. (2024), Communications Medicine 4:46, arXiv:2302.01622:
        github.com/tayebiarasteh/DP_CXR, ``Prediction_DP.py`` and ``data/age_sex_fairness.py``.
    """
    tables = []
    for images in scored_images(scores, cohort, replace(choice, group_columns=("sex", "age_band"))):
        rows = []
        for column in images.columns:
            draws = _draws(images, column, choice)
            rows += _group_rows(images, column, draws)
            rows += _gap_rows(images, column, draws)
        table = pd.DataFrame(rows)
        table.insert(0, "dataset", images.dataset)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _draws(images: ScoredImages, column: GroupColumn, choice: EvaluationChoice) -> NDArray[np.float64]:
    """``(metrics, n_resamples, G, F + 1)``, macro last; NaN for findings too rare in a group."""
    n_groups, n_findings = len(column.groups), len(images.findings)
    draws = np.full((len(AS_PUBLISHED_METRICS), choice.n_resamples, n_groups, n_findings + 1), np.nan)
    measured = np.zeros((n_groups, n_findings), dtype=bool)
    patient = pd.factorize(images.patient_ids)[0]
    for g, group in enumerate(column.groups):
        rows = np.flatnonzero(column.of_image == group)
        rng = resampling_rng(choice.seed, f"{images.dataset}/{column.name}/{group}")
        weights = _weights_of_images(rows.size, choice.n_resamples, rng)
        for f in range(n_findings):
            y_true, y_score = images.y_true[rows, f], images.y_score[rows, f]
            measured[g, f] = not unmeasurable(y_true, patient[rows])
            if measured[g, f]:
                draws[:, :, g, f] = _metrics_of_resamples(y_true, y_score, weights)
    compared, shared = compared_and_shared(measured)
    if shared.any():
        draws[..., compared, -1] = draws[:, :, compared, :-1][..., shared].mean(axis=-1)
    return draws


def _weights_of_images(n_images: int, n_resamples: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    weights = np.zeros((n_resamples, n_images), dtype=np.uint16)
    if n_images:
        for row in weights:
            row[:] = np.bincount(rng.integers(n_images, size=n_images), minlength=n_images)
    return weights


def _metrics_of_resamples(y_true: NDArray, y_score: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """``(metrics, n_resamples)`` of one finding, with a threshold picked in each resample."""
    # negatives moved down by a hair: those at or above a positive's score are now those strictly above it
    below = np.where(y_true == 0, np.nextafter(y_score, -np.inf), y_score)
    pairs = zip(rankings(y_true, y_score, weights), rankings(y_true, below, weights), strict=True)
    return np.concatenate([_metrics_of(reached, above) for reached, above in pairs], axis=1)


def _metrics_of(reached: Ranking, above: Ranking) -> NDArray[np.float64]:
    """``(metrics, n_rows)`` from the images at or above, and above, each candidate threshold."""
    tp = np.cumsum(reached.positives, axis=1)
    n_positive, n_negative = tp[:, -1], reached.n_negatives
    both = (n_positive > 0) & (n_negative > 0)
    youden = np.full_like(tp, -np.inf)
    youden[both] = tp[both] / n_positive[both, np.newaxis] - reached.negatives[both] / n_negative[both, np.newaxis]
    rows, best = np.arange(len(tp)), np.argmax(youden, axis=1)
    # where no threshold is better than predicting nothing, an infinite one is picked
    predicted = youden[rows, best] > 0
    tp = np.where(predicted, (tp - reached.positives)[rows, best], 0)
    fp = np.where(predicted, above.negatives[rows, best], 0)
    return np.stack(
        [
            aurocs_of(reached),
            (tp + n_negative - fp) / (n_positive + n_negative + _IN_DENOMINATORS),
            tp / (n_positive + _IN_DENOMINATORS),
            fp / (n_negative + _IN_DENOMINATORS),
            tp / (tp + fp + _IN_DENOMINATORS),
            2 * tp / (tp + fp + n_positive + _IN_DENOMINATORS),
        ]
    )


def _row(images: ScoredImages, column: GroupColumn, f: int, metric: str, group_value: str) -> dict[str, Any]:
    return {
        "finding": (*images.findings, MACRO)[f],
        "metric": metric,
        "group_column": column.name,
        "group_value": group_value,
    }


def _group_rows(images: ScoredImages, column: GroupColumn, draws: NDArray) -> list[dict[str, Any]]:
    rows = []
    for m, metric in enumerate(AS_PUBLISHED_METRICS):
        for g, f in np.argwhere(~np.isnan(draws[m]).all(axis=0)):
            defined, _ = defined_resamples(draws[m, :, g, f])
            low, high = np.quantile(defined, (0.025, 0.975))
            spread = {"as_published": defined.mean(), "sd": defined.std(), "low": low, "high": high}
            rows.append(_row(images, column, f, metric, column.groups[g]) | spread)
    return rows


def _gap_rows(images: ScoredImages, column: GroupColumn, draws: NDArray) -> list[dict[str, Any]]:
    sizes = np.array([np.sum(column.of_image == group) for group in column.groups])
    rows = []
    for f in range(draws.shape[-1]):
        groups = np.flatnonzero(~np.isnan(draws[:, :, :, f]).all(axis=(0, 1)))
        if len(groups) < 2:
            continue
        values = dict(zip(AS_PUBLISHED_METRICS, np.nanmean(draws[:, :, groups, f], axis=1), strict=True))
        spans = {metric: float(np.ptp(value)) for metric, value in values.items()}
        gaps = {
            "auroc_range": spans["auroc"],
            "tpr_difference": spans["tpr"],
            "equalized_odds_difference": max(spans["tpr"], spans["fpr"]),
            "ppv_difference": spans["ppv"],
        }
        rows += [_row(images, column, f, metric, GAP_NAME) | {"as_published": gap} for metric, gap in gaps.items()]
        for k, g in enumerate(groups):
            others = np.delete(np.arange(len(groups)), k)
            parity = values["accuracy"][k] - np.average(values["accuracy"][others], weights=sizes[groups[others]])
            name = f"{column.groups[g]} - others"
            rows.append(_row(images, column, f, "accuracy_parity_difference", name) | {"as_published": parity})
    return rows
