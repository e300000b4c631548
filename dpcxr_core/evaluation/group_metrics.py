"""Every metric of one finding in one group of images, on the data and on each resample."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.grouped import Measured
from dpcxr_core.evaluation.resampling.patients import Resamples, weighted_sums
from dpcxr_core.evaluation.statistics.auroc import aurocs_of
from dpcxr_core.evaluation.statistics.average_precision import average_precisions_of
from dpcxr_core.evaluation.statistics.probability_calibration import (
    calibration_features,
    calibration_from_sums,
    recalibration,
)
from dpcxr_core.evaluation.statistics.ranking import rankings
from dpcxr_core.evaluation.statistics.rates import UNDEFINED_RATES, confusion_features, rates_from_counts
from dpcxr_core.evaluation.statistics.ratio import ratio

CALIBRATION_METRICS = ("brier", "ece", "calibration_slope", "calibration_in_the_large")
SCORE_METRICS = ("auroc", "auprc", "prevalence", *CALIBRATION_METRICS)
RATE_METRICS = tuple(UNDEFINED_RATES)


def score_metrics(y_true: NDArray, y_score: NDArray, resamples: Resamples, bin_edges: NDArray) -> dict[str, Measured]:
    """``SCORE_METRICS``: what needs no decision.

    Args:
        y_true: ``(n_images,)`` of 1 and 0, of both at least one.
        y_score: ``(n_images,)`` in [0, 1].
        resamples: Of these images.
        bin_edges: Inner edges of the bins of the ECE, shared by all groups.
    """
    fit = recalibration(y_true, y_score)
    calibration = calibration_features(y_true, y_score, bin_edges, fit)
    sums = weighted_sums(resamples, np.column_stack([np.ones(y_true.size), y_true, calibration]))
    n_images, n_positive = sums[:, 0], sums[:, 1]

    rows = [
        (aurocs_of(ranking), average_precisions_of(ranking))
        for ranking in rankings(y_true, y_score, resamples.weights, resamples.patient_of_image)
    ]
    aurocs, average_precisions = np.concatenate(rows, axis=1)
    draws = {
        "auroc": aurocs,
        "auprc": average_precisions,
        "prevalence": ratio(n_positive, n_images),
        **calibration_from_sums(sums[:, 2:], fit),
    }
    return {name: (each, fit.reason if name == "calibration_slope" else "") for name, each in draws.items()}


def rate_metrics(
    y_true: NDArray, y_score: NDArray, resamples: Resamples, decision_threshold: float
) -> dict[str, Measured]:
    """``RATE_METRICS``, of decisions for every score at or above the threshold; NaN and a reason without one."""
    counts = weighted_sums(resamples, confusion_features(y_true, y_score >= decision_threshold))
    return with_reasons(rates_from_counts(counts), decision_threshold)


def with_reasons(rates: Mapping[str, NDArray], decision_threshold: float) -> dict[str, Measured]:
    """Draws of ``RATE_METRICS`` by name, each with why it is NaN on the data; all are NaN without a threshold."""
    if math.isnan(decision_threshold):
        return {name: (np.full_like(draws, np.nan), "no decision threshold") for name, draws in rates.items()}
    return {name: (draws, UNDEFINED_RATES[name] if math.isnan(draws[0]) else "") for name, draws in rates.items()}
