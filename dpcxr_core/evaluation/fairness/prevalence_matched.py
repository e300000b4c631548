"""Two groups compared as if they had the same prevalence and, if asked, the same ages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import EvaluationChoice
from dpcxr_core.evaluation.comparing.gaps import difference_rows
from dpcxr_core.evaluation.comparing.grouped import Measured, group_rows, grouped_draws
from dpcxr_core.evaluation.group_metrics import with_reasons
from dpcxr_core.evaluation.groups import MIN_COUNT, GroupColumn
from dpcxr_core.evaluation.resampling.patients import Resamples, by_image_weights, of_images
from dpcxr_core.evaluation.scored_images import ScoredImages, scored_images, shared_resamples
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.evaluation.statistics.rates import confusion_features, rates_from_counts
from dpcxr_core.tables import METRICS, checked

_RATES = ("tpr", "fpr", "ppv", "selection_rate")


def matched_differences(
    scores: pd.DataFrame,
    cohort: pd.DataFrame,
    choice: EvaluationChoice,
    thresholds: Mapping[str, float],
    *,
    age_edges: Sequence[int] = (),
) -> pd.DataFrame:
    """Metrics of two groups, and their signed difference, at one prevalence and, with ``age_edges``, at the same ages.

    The images of each group are weighted so that positives and negatives, and each bin of ages among them, have the
    shares that they have in both groups together, on the data and in every resample. That is what resampling to equal
    shares gives on average, without its chance. Equal prevalence alone leaves AUROC, TPR and FPR as they are, and the
    PPV becomes ``tpr * p / (tpr * p + fpr * (1 - p))`` at the common prevalence p. Groups may still differ in all else.

    Args:
        scores: SCORES table of one run, of any number of data sets.
        cohort: COHORT table that holds at least the images scored.
        choice: Resamples, and group columns; those with a signed contrast are compared.
        thresholds: Score at or above which a finding is predicted; NaN or absent where there is none.
        age_edges: Edges, in years, of the bins whose shares are made equal. Images of other or unknown ages are left
            out, as are positives, or negatives, of bins in which a group has fewer than 10 of them.

    Returns:
        METRICS table: ``auroc tpr fpr ppv selection_rate`` of the two groups and, with "_difference", of the contrast.
        ``group_column`` is "sex at equal prevalence" or "sex at equal prevalence and age"; age bands are not matched on
        age. ``n`` counts the images that were not left out.

    Raises:
        UserError: As ``scored_images``.

    Source:
        Resampled test sets: Glocker et al. (2023), "Algorithmic encoding of protected characteristics in chest X-ray
        disease detection models", eBioMedicine 89, 104467. Weights in their place: Miettinen (1972), "Standardization
        of risk ratios", American Journal of Epidemiology 96(6).
    """
    ages = cohort.set_index("image_id")["age_years"]
    tables = []
    for images in scored_images(scores, cohort, choice):
        bins = _age_bins(ages.reindex(images.image_ids).to_numpy(dtype=float), age_edges)
        resamples = shared_resamples(images, choice)
        rows: list[dict[str, Any]] = []
        for column in images.columns:
            if column.contrast is not None and not (age_edges and column.name == "age_band"):
                name = f"{column.name} at equal prevalence{' and age' if age_edges else ''}"
                pair = replace(column, name=name, groups=column.contrast)
                rows += _rows(images, pair, bins, resamples, thresholds)
        tables.append(
            pd.DataFrame(rows, columns=list(METRICS.columns)).assign(run_id=images.run_id, dataset=images.dataset)
        )
    return checked(pd.concat(tables, ignore_index=True), METRICS)


def _age_bins(ages: NDArray[np.float64], edges: Sequence[int]) -> NDArray[np.int64]:
    """Bin of each age, -1 where unknown or outside; without edges all images are in one bin."""
    if not edges:
        return np.zeros(len(ages), dtype=np.int64)
    inside = (ages >= edges[0]) & (ages < edges[-1])
    return np.where(inside, np.digitize(ages, edges) - 1, -1)


def _rows(
    images: ScoredImages,
    pair: GroupColumn,
    bins: NDArray[np.int64],
    resamples: Resamples,
    thresholds: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Rows of the two groups of ``pair`` and of their difference."""
    cells = np.column_stack([_cells_in_common(labels, pair, bins) for labels in images.y_true.T])
    compared = replace(images, y_true=np.where(cells < 0, np.nan, images.y_true))
    in_pair = np.isin(pair.of_image, pair.groups)

    def measure(f: int, rows: NDArray) -> dict[str, Measured]:
        y_true, y_score = images.y_true[rows, f], images.y_score[rows, f]
        decision_threshold = thresholds.get(images.findings[f], math.nan)
        decisions = confusion_features(y_true, y_score >= decision_threshold).astype(float)
        shares = np.bincount(cells[in_pair & (cells[:, f] >= 0), f])

        def statistics(weights: NDArray) -> NDArray[np.float64]:
            matched = _with_shares(weights, cells[rows, f], shares)
            rates = rates_from_counts(matched @ decisions)
            return np.column_stack([weighted_aurocs(y_true, y_score, matched), *(rates[each] for each in _RATES)])

        aurocs, *rates = by_image_weights(of_images(resamples, rows), statistics).T
        by_name = dict(zip(_RATES, rates, strict=True))
        return {"auroc": (aurocs, ""), **with_reasons(by_name, decision_threshold)}

    metrics = ("auroc", *_RATES)
    grouped = grouped_draws(compared, pair, metrics, len(resamples.weights), measure)
    return [
        row
        for metric in metrics
        for row in group_rows(grouped[metric], metric) + difference_rows(grouped[metric], f"{metric}_difference")
    ]


def _cells_in_common(labels: NDArray, pair: GroupColumn, bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each image's cell of label and age bin; -1 for cells of which one of the groups has too few images."""
    cells = np.where(np.isnan(labels) | (bins < 0), -1, 2 * bins + np.nan_to_num(labels)).astype(np.int64)
    n_cells = 2 * bins.max(initial=0) + 2
    counts = [np.bincount(cells[(pair.of_image == group) & (cells >= 0)], minlength=n_cells) for group in pair.groups]
    common = np.min(counts, axis=0) >= MIN_COUNT
    return np.where((cells >= 0) & common[cells], cells, -1)


def _with_shares(weights: NDArray, cells: NDArray[np.int64], shares: NDArray[np.int64]) -> NDArray[np.float64]:
    """``weights`` (a row a resample) times what gives each cell its share; a cell that a resample lost stays lost."""
    in_cell = cells[:, np.newaxis] == np.arange(len(shares))
    found = weights.astype(float) @ in_cell
    return weights * np.divide(shares, found, out=np.zeros_like(found), where=found > 0)[:, cells]
