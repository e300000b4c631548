"""Metrics of every group, finding and resample, and their macro mean over findings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import FINDINGS
from dpcxr_core.evaluation.groups import GroupColumn, patients_of_rarer_class, unmeasurable
from dpcxr_core.evaluation.resampling.intervals import percentile_interval
from dpcxr_core.evaluation.scored_images import ScoredImages

MACRO = "macro"
# Resamples repeat images, which drives ECE up once more: their percentiles often miss even its value on the data.
_NO_INTERVAL_OF_ECE = "ECE is biased up, the more the smaller the group: no interval"
# (1 + n_resamples,) of one metric, row 0 the data; and why it is NaN on the data, or ""
Measured = tuple[NDArray[np.float64], str]
# (finding's position, positions of one group's images with a label of it) -> its metrics by name
Measure = Callable[[int, NDArray], Mapping[str, Measured]]


@dataclass(frozen=True, eq=False)
class GroupedDraws:
    """One metric by group and finding: first on the data, then on each resample.

    Attributes:
        column: How the images were parted; G groups.
        findings: F findings and, last, "macro".
        draws: ``(1 + n_resamples, G, F + 1)``; row 0 is the value on the data. NaN where undefined.
        n: ``(G, F + 1)`` labelled images; for macro, the images with any of its labels.
        n_positive: ``(G, F + 1)`` positives; for macro, the fewest of its findings.
        n_patients: ``(G, F + 1)`` patients of the rarer class, 0 where nothing is measured; for macro, the fewest of
            the findings it covers.
        reasons: ``(G, F + 1)`` of text: why a value is NaN, or which findings a macro mean covers.
        shared: ``(F,)`` of bool: findings defined in every compared group; macro is their mean.
    """

    column: GroupColumn
    findings: tuple[str, ...]
    draws: NDArray[np.float64]
    n: NDArray[np.int64]
    n_positive: NDArray[np.int64]
    n_patients: NDArray[np.int64]
    reasons: NDArray[np.object_]
    shared: NDArray[np.bool_]

    @property
    def defined(self) -> NDArray[np.bool_]:
        """``(G, F + 1)``: which values exist on the data."""
        return ~np.isnan(self.draws[0])


def grouped_draws(
    images: ScoredImages, column: GroupColumn, metrics: Sequence[str], n_rows: int, measure: Measure
) -> dict[str, GroupedDraws]:
    """Each metric for each group of ``column`` and each finding, and its macro mean over findings.

    A group in which fewer than 10 patients have a positive, or fewer than 10 a negative, of a finding has no value
    there, only a reason.
    The macro mean takes the same findings in every group: those defined in all groups that have any
    defined finding. A group with none is not compared.

    Args:
        images: The scores of one run on one data set.
        column: How to part the images.
        metrics: Names of what ``measure`` gives.
        n_rows: Resamples, and the data.
        measure: Measures one finding in one group, on the data and on the resamples. The same resamples for
            every finding and group, so that macro means and differences are resampled as a whole.
    """
    shape = (len(column.groups), len(images.findings) + 1)
    draws = {metric: np.full((n_rows, *shape), np.nan) for metric in metrics}
    reasons = {metric: np.full(shape, "", dtype=object) for metric in metrics}
    n, n_positive, n_patients = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    patient_of_image, _ = pd.factorize(images.patient_ids)
    for g, group in enumerate(column.groups):
        inside = column.of_image == group
        for f in range(len(images.findings)):
            labelled = np.flatnonzero(inside & ~np.isnan(images.y_true[:, f]))
            n[g, f], n_positive[g, f] = labelled.size, np.sum(images.y_true[labelled, f] == 1)
            reason = unmeasurable(images.y_true[labelled, f], patient_of_image[labelled])
            if not reason:
                n_patients[g, f] = patients_of_rarer_class(images.y_true[labelled, f], patient_of_image[labelled])
            measured = {} if reason else measure(f, labelled)
            for metric in metrics:
                draws[metric][:, g, f], reasons[metric][g, f] = measured.get(metric, (np.nan, reason))
    return {
        metric: _with_macro(images, column, draws[metric], n, n_positive, n_patients, reasons[metric])
        for metric in metrics
    }


def _with_macro(
    images: ScoredImages,
    column: GroupColumn,
    draws: NDArray,
    n: NDArray,
    n_positive: NDArray,
    n_patients: NDArray,
    reasons: NDArray,
) -> GroupedDraws:
    """The arrays as ``GroupedDraws``, their last finding filled with the macro mean; counts as copies."""
    n, n_positive, n_patients = n.copy(), n_positive.copy(), n_patients.copy()
    defined = ~np.isnan(draws[0, :, :-1])
    compared, shared = compared_and_shared(defined)
    reason = macro_reason(np.array(images.findings)[shared].tolist())
    any_label = ~np.isnan(images.y_true[:, shared]).all(axis=1)
    for g, group in enumerate(column.groups):
        reasons[g, -1] = reason if compared[g] else "no finding can be measured in this group"
        if compared[g] and shared.any():
            draws[:, g, -1] = draws[:, g, :-1][:, shared].mean(axis=1)
            n[g, -1] = np.sum(any_label & (column.of_image == group))
            n_positive[g, -1] = n_positive[g, :-1][shared].min()
            n_patients[g, -1] = n_patients[g, :-1][shared].min()
    return GroupedDraws(column, (*images.findings, MACRO), draws, n, n_positive, n_patients, reasons, shared)


def compared_and_shared(defined: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which groups macro means compare, ``(G,)``, and which findings they take, ``(F,)``.

    Args:
        defined: ``(G, F)``: which findings can be measured in which groups. A group with none is not compared.
    """
    compared = np.logical_or.reduce(defined, axis=1)
    return compared, np.logical_and.reduce(defined[compared], axis=0) & compared.any()


def macro_reason(covered: list[str]) -> str:
    """Which findings a macro mean covers, or "" when it covers all of them."""
    if not covered:
        return "no finding can be measured in every group"
    return "" if len(covered) == len(FINDINGS) else f"mean over {', '.join(covered)}"


def metric_row(
    value: float,
    interval: tuple[float, float, str],
    *,
    finding: str,
    metric: str,
    group_column: str,
    group_value: str,
    n: int,
    n_positive: int,
    noise_floor: float = math.nan,
    reason: str = "",
) -> dict[str, Any]:
    """One row of the metrics table, less its run and data set.

    ``interval`` is its low end, its high end and what to know about them; all of it is dropped where the
    value is NaN, as is the noise floor. ECE has neither interval nor noise floor.
    """
    low, high, note = interval
    if math.isnan(value) or metric in ("ece", "ece_difference"):
        low = high = noise_floor = math.nan
        note = "" if math.isnan(value) else _NO_INTERVAL_OF_ECE
    return {
        "finding": finding,
        "metric": metric,
        "group_column": group_column,
        "group_value": group_value,
        "n": int(n),
        "n_positive": int(n_positive),
        "value": value,
        "low": low,
        "high": high,
        "noise_floor": noise_floor,
        "reason": joined(reason, note),
    }


def joined(*reasons: str) -> str:
    """The reasons that are not empty, as one."""
    return "; ".join(reason for reason in reasons if reason)


def group_rows(grouped: GroupedDraws, metric: str) -> list[dict[str, Any]]:
    """A row for every group and finding."""
    return [
        metric_row(
            grouped.draws[0, g, f],
            percentile_interval(grouped.draws[1:, g, f]),
            finding=finding,
            metric=metric,
            group_column=grouped.column.name,
            group_value=group,
            n=grouped.n[g, f],
            n_positive=grouped.n_positive[g, f],
            reason=grouped.reasons[g, f],
        )
        for g, group in enumerate(grouped.column.groups)
        for f, finding in enumerate(grouped.findings)
    ]
