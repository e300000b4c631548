"""All measures of one model's embeddings, each with its interval by patient: a row a measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.config import FINDINGS
from dpcxr_core.evaluation.comparing.grouped import joined, macro_reason
from dpcxr_core.evaluation.representation.geometry import (
    effective_dimension,
    effective_dimensions_left_out,
    squared_displacements,
)
from dpcxr_core.evaluation.representation.jackknife import jackknife_interval
from dpcxr_core.evaluation.representation.linear_probe import (
    macro_draws,
    measurable_findings,
    probe_scores,
    standardised,
)
from dpcxr_core.evaluation.resampling.intervals import percentile_interval
from dpcxr_core.evaluation.resampling.patients import Resamples, weighted_sums


@dataclass(frozen=True, eq=False)
class ComparedImages:
    """What is known of the images that all models are compared on.

    Attributes:
        train_labels: ``(n_train, F)`` of 1, 0 and NaN in the order of ``config.FINDINGS``, of the images that the
            probe is fitted to.
        test_labels: ``(n_test, F)``.
        resamples: Of the patients of the test images.
        groups: ``(n_test,)``: group of each test image's patient, of ``jackknife_groups``.
    """

    train_labels: NDArray[np.float32]
    test_labels: NDArray[np.float32]
    resamples: Resamples
    groups: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings by one model, of length 1.

    Attributes:
        train: ``(n_train, n_features)``.
        test: ``(n_test, n_features)``.
    """

    train: NDArray[np.float64]
    test: NDArray[np.float64]


def measures_before(before: Embedded, images: ComparedImages) -> list[dict[str, Any]]:
    """``measure n value low high reason`` of an initialisation.

    ``effective_dimension``, and the macro AUROC of linear probes: ``probe_auroc`` as published, and
    ``standardised_probe_auroc``.
    """
    draws, covered = _macro_aurocs(images, _probes(before, images))
    return [
        _dimension("effective_dimension", images, before),
        *(_bootstrapped(measure, each, images, covered) for measure, each in draws.items()),
    ]


def measures_after(
    after: Embedded, before: Embedded, end_to_end_scores: NDArray, images: ComparedImages
) -> list[dict[str, Any]]:
    """The same of a trained model; and how far it is from ``before``, and what its own head makes of the images.

    Args:
        after: By the trained model.
        before: By the initialisation that it started from.
        end_to_end_scores: ``(n_test, F)``, by the model's own head.
        images: What both embedded.

    Returns:
        Besides the above ``displacement``, ``effective_dimension_change``, ``end_to_end_auroc``, and what the AUROC
        of each probe is above that: ``utilisation_gap`` and ``standardised_utilisation_gap``. All AUROCs are means
        over the same findings.
    """
    scores = {**_probes(after, images), "end_to_end_auroc": end_to_end_scores}
    draws, covered = _macro_aurocs(images, scores)
    draws["utilisation_gap"] = draws["probe_auroc"] - draws["end_to_end_auroc"]
    draws["standardised_utilisation_gap"] = draws["standardised_probe_auroc"] - draws["end_to_end_auroc"]
    return [
        _displacement(after, before, images),
        _dimension("effective_dimension", images, after),
        _dimension("effective_dimension_change", images, after, before),
        *(_bootstrapped(measure, each, images, covered) for measure, each in draws.items()),
    ]


def _probes(embedded: Embedded, images: ComparedImages) -> dict[str, NDArray]:
    scaled_train, scaled_test = standardised(embedded.train, embedded.test)
    return {
        "probe_auroc": probe_scores(embedded.train, images.train_labels, embedded.test),
        "standardised_probe_auroc": probe_scores(scaled_train, images.train_labels, scaled_test),
    }


def _displacement(after: Embedded, before: Embedded, images: ComparedImages) -> dict[str, Any]:
    squared = squared_displacements(before.test, after.test)
    total, n_images = weighted_sums(images.resamples, np.column_stack([squared, np.ones_like(squared)])).T
    return _bootstrapped("displacement", total / n_images, images)


def _dimension(
    measure: str, images: ComparedImages, embedded: Embedded, minus: Embedded | None = None
) -> dict[str, Any]:
    """The effective dimension, or by how much it is above that of ``minus``: the same patients are left out of both."""
    value = effective_dimension(embedded.test)
    left_out = effective_dimensions_left_out(embedded.test, images.groups)
    if minus is not None:
        value -= effective_dimension(minus.test)
        left_out -= effective_dimensions_left_out(minus.test, images.groups)
    return _row(measure, images, *jackknife_interval(value, left_out))


def _macro_aurocs(images: ComparedImages, scores: dict[str, NDArray]) -> tuple[dict[str, NDArray], str]:
    """Macro AUROC on the data and every resample by each of ``scores``; and the findings it covers, if not all.

    All cover the same findings, so that they can be compared.
    """
    shared = measurable_findings(images.test_labels, images.resamples.patient_of_image, *scores.values())
    if not len(shared):
        undefined = np.full(len(images.resamples.weights), np.nan)
        return dict.fromkeys(scores, undefined), "no finding can be measured on these images"
    draws = {
        measure: macro_draws(images.test_labels[:, shared], each[:, shared], images.resamples)
        for measure, each in scores.items()
    }
    return draws, macro_reason([FINDINGS[finding] for finding in shared])


def _bootstrapped(measure: str, draws: NDArray, images: ComparedImages, covered: str = "") -> dict[str, Any]:
    low, high, undefined = percentile_interval(draws[1:])
    return _row(measure, images, draws[0], low, high, joined(covered, undefined))


def _row(
    measure: str, images: ComparedImages, value: float, low: float, high: float, reason: str = ""
) -> dict[str, Any]:
    return {
        "measure": measure,
        "n": len(images.test_labels),
        "value": float(value),
        "low": float(low),
        "high": float(high),
        "reason": reason,
    }
