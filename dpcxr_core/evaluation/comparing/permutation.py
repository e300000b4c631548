"""Tests of a gap between groups: how often chance alone, which hands out the groups anew, makes one as large."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.gaps import GAP_NAME
from dpcxr_core.evaluation.comparing.grouped import MACRO, compared_and_shared
from dpcxr_core.evaluation.groups import GroupColumn, unmeasurable
from dpcxr_core.evaluation.resampling.patients import Resamples, resampling_rng, weighted_sums
from dpcxr_core.evaluation.scored_images import ScoredImages
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.evaluation.statistics.rates import confusion_features, rates_from_counts

GAP_TEST_COLUMNS = (
    *("run_id", "dataset", "finding", "metric", "group_column", "group_value"),
    *("value", "p", "n_permutations", "reason"),
)
# (members of each group, labels, scores, decision thresholds) -> gaps by metric
Gaps = Callable[[list[Resamples], NDArray, NDArray, NDArray], dict[str, NDArray[np.float64]]]
# names of the groups, group_value, metrics, their gaps, the decision thresholds these need
_Asked = tuple[tuple[str, ...], str, tuple[str, ...], Gaps, NDArray]
_MOST_IMAGES_TOLD_APART = 3


def gap_tests(
    images: ScoredImages,
    column: GroupColumn,
    decision_thresholds: Mapping[str, float],
    *,
    n_permutations: int,
    seed: int,
) -> pd.DataFrame:
    """A permutation test of every gap between the groups of ``column``, for each finding and macro.

    Null hypothesis: among patients with the same labels, scores do not depend on the group. Groups may differ in
    prevalence. ``permuted_groups`` says what moves. For macro, all findings of a patient move together.

    Args:
        images: The scores of one run on one data set.
        column: One of ``images.columns``.
        decision_thresholds: Score at or above which a finding is predicted; findings without one have no TPR and FPR.
        n_permutations: At least 1; the smallest p is 1 / (n_permutations + 1).
        seed: Seeds the permutations, not negative. All runs on one data set meet the same ones.

    Returns:
        The columns ``GAP_TEST_COLUMNS``. All up to ``value``
        are those of the METRICS row that is tested: "auroc_difference" of the two contrasted groups, among whose
        patients alone groups are handed out, where ``column`` has a contrast; "tpr_difference" and "fpr_difference"
        among all groups. p is two-sided. Where a gap cannot be measured both are NaN, and ``reason`` says why.

    Raises:
        UserError: ``n_permutations`` is below 1.
    """
    thresholds = np.array([decision_thresholds.get(finding, math.nan) for finding in images.findings])
    asked: list[_Asked] = [(column.groups, GAP_NAME, ("tpr_difference", "fpr_difference"), _rate_gaps, thresholds)]
    if column.contrast is not None:
        no_decisions = np.zeros_like(thresholds)
        asked.append((column.contrast, column.contrast_name, ("auroc_difference",), _auroc_gaps, no_decisions))
    rows: list[dict[str, Any]] = []
    for (names, group_value, metrics, gaps_of, needed), finding in product(asked, (*images.findings, MACRO)):
        rng = resampling_rng(seed, images.dataset)
        gaps = _arranged_gaps(images, column, names, finding, needed, gaps_of, n_permutations, rng)
        rows += [
            {
                "run_id": images.run_id,
                "dataset": images.dataset,
                "finding": finding,
                "metric": metric,
                "group_column": column.name,
                "group_value": group_value,
                "value": gaps[metric][0] if gaps else math.nan,
                "p": permutation_p(np.abs(gaps[metric])) if gaps else math.nan,
                "n_permutations": n_permutations,
                "reason": "" if gaps else "fewer than two groups can be measured",
            }
            for metric in metrics
        ]
    return pd.DataFrame(rows, columns=GAP_TEST_COLUMNS)


def permuted_groups(
    groups: ArrayLike, patient_ids: ArrayLike, y_true: NDArray, n_permutations: int, rng: np.random.Generator
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Groups handed out anew among patients alike in their labels.

    A patient's images move together. Two patients are alike when, for each finding, both have a positive image, or
    both have labelled ones but none positive, or both have none; and when both have one image, two, or more. So
    each group keeps its number of patients of every kind, and with it its prevalence. A patient with images in
    several groups (two age bands, say) has no group to hand on: their images stay where they are, in every
    permutation, which costs a little power and no validity.

    Args:
        groups: ``(n_images,)`` of whole numbers.
        patient_ids: ``(n_images,)``.
        y_true: ``(n_images, F)`` of 1, 0 and NaN.
        n_permutations: At least 1.
        rng: Source of the permutations.

    Returns:
        ``(1 + n_permutations, n_units)`` groups, row 0 as in the data, and ``(n_images,)``, each image's unit: a
        patient, or one image of a patient who stays.

    Raises:
        UserError: ``n_permutations`` is below 1.

    Source:
        Good (2005), "Permutation, parametric and bootstrap tests of hypotheses", section 3.2 (blocks).
    """
    if n_permutations < 1:
        raise UserError(f"n_permutations must be at least 1; got {n_permutations}")
    groups, patient = np.asarray(groups), pd.factorize(np.asarray(patient_ids, dtype=object))[0]
    n_patients = patient.max() + 1
    label = np.where(np.isnan(y_true), 0, 1 + y_true).astype(int)
    kinds = np.zeros((n_patients, y_true.shape[1] + 1), dtype=int)
    np.maximum.at(kinds[:, 1:], patient, label)
    kinds[:, 0] = np.minimum(np.bincount(patient), _MOST_IMAGES_TOLD_APART)
    kind = np.unique(kinds, axis=0, return_inverse=True)[1].ravel()

    highest = np.full(n_patients, groups.min())
    np.maximum.at(highest, patient, groups)
    stays = np.zeros(n_patients, dtype=bool)
    stays[patient[groups != highest[patient]]] = True
    unit, first_image = _units(np.where(stays[patient], n_patients + np.arange(patient.size), patient))
    kind_of_unit = np.where(stays, -1, kind)[patient[first_image]]
    permuted = np.tile(groups[first_image].astype(np.int16), (1 + n_permutations, 1))
    for each in np.unique(kind_of_unit[kind_of_unit >= 0]):
        alike = np.flatnonzero(kind_of_unit == each)
        permuted[1:, alike] = rng.permuted(permuted[1:, alike], axis=1)
    return permuted, unit


def permutation_p(statistics: NDArray) -> float:
    """Share of the arrangements, the data's own among them, whose statistic is at least the data's: never 0.

    Args:
        statistics: ``(1 + n_permutations,)``, not negative; the data's first. An undefined one counts as large.

    Source:
        Phipson and Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9(1), article 39.
    """
    below = statistics < statistics[0] - 1e-12  # equal arrangements may differ in rounding
    return float(np.mean(~below))


def _units(key: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each image's unit, numbered from 0, and each unit's first image."""
    _, first_image, unit = np.unique(key, return_index=True, return_inverse=True)
    return unit, first_image


def _arranged_gaps(
    images: ScoredImages,
    column: GroupColumn,
    names: tuple[str, ...],
    finding: str,
    thresholds: NDArray,
    gaps_of: Gaps,
    n_permutations: int,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.float64]]:
    """``(1 + n_permutations,)`` of each gap between the groups ``names``; none where fewer than two are measurable."""
    groups, findings = _comparable(images, column, names, finding, thresholds)
    if len(groups) < 2:
        return {}
    y_true = images.y_true[:, findings]
    inside = np.isin(column.of_image, groups) & ~np.isnan(y_true).all(axis=1)
    group_of_image = np.array([groups.index(group) for group in column.of_image[inside]])
    permuted, unit = permuted_groups(group_of_image, images.patient_ids[inside], y_true[inside], n_permutations, rng)
    members = [Resamples((permuted == group).astype(np.uint16), unit) for group in range(len(groups))]
    return gaps_of(members, y_true[inside], images.y_score[inside][:, findings], thresholds[findings])


def _comparable(
    images: ScoredImages, column: GroupColumn, names: tuple[str, ...], finding: str, thresholds: NDArray
) -> tuple[list[str], list[int]]:
    """Which of the groups ``names`` are compared, and in which findings: as in the METRICS table."""
    patient = pd.factorize(images.patient_ids)[0]
    members = [np.flatnonzero(column.of_image == group) for group in column.groups]
    enough = [[not unmeasurable(labels[inside], patient[inside]) for labels in images.y_true.T] for inside in members]
    asked = np.array([finding in (MACRO, each) for each in images.findings])
    compared, shared = compared_and_shared(np.array(enough) & ~np.isnan(thresholds) & asked)
    there = {name for name, any_finding in zip(column.groups, compared, strict=True) if any_finding and shared.any()}
    return [name for name in names if name in there], np.flatnonzero(shared).tolist()


def _auroc_gaps(
    members: list[Resamples], y_true: NDArray, y_score: NDArray, _: NDArray
) -> dict[str, NDArray[np.float64]]:
    aurocs = np.array(
        [
            [weighted_aurocs(labels, scores, group.weights, group.patient_of_image) for group in members]
            for labels, scores in zip(y_true.T, y_score.T, strict=True)
        ]
    )
    macro = aurocs.mean(axis=0)
    return {"auroc_difference": macro[0] - macro[1]}


def _rate_gaps(
    members: list[Resamples], y_true: NDArray, y_score: NDArray, thresholds: NDArray
) -> dict[str, NDArray[np.float64]]:
    counts = [
        [weighted_sums(group, confusion_features(labels, scores >= threshold)) for group in members]
        for labels, scores, threshold in zip(y_true.T, y_score.T, thresholds, strict=True)
    ]
    rates = rates_from_counts(np.array(counts))
    return {f"{name}_difference": np.ptp(rates[name], axis=1).mean(axis=0) for name in ("tpr", "fpr")}
