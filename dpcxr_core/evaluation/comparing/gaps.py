"""Gaps between groups: signed differences, and ranges with intervals that can reach zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.grouped import GroupedDraws, joined, metric_row
from dpcxr_core.evaluation.resampling.intervals import (
    ALL_AGREE,
    COVERAGE,
    percentile_interval,
    quantile_of_sorted,
    varying_resamples,
)

GAP_NAME = "max-min"
Combined = Callable[..., Any]  # np.max or np.mean
# of which rates each gap is made, and how their ranges are combined
GAPS: Mapping[str, tuple[tuple[str, ...], Combined]] = {
    "tpr_difference": (("tpr",), np.max),
    "fpr_difference": (("fpr",), np.max),
    "equalized_odds_difference": (("tpr", "fpr"), np.max),
    "equalized_odds_difference_mean": (("tpr", "fpr"), np.mean),
    "ppv_difference": (("ppv",), np.max),
    "selection_rate_difference": (("selection_rate",), np.max),
    "ece_difference": (("ece",), np.max),
    "calibration_in_the_large_difference": (("calibration_in_the_large",), np.max),
}


def gap_and_scatter(rates: NDArray, combined: Combined = np.max) -> tuple[float, NDArray[np.float64]]:
    """The largest minus the smallest group, and how far apart resampling alone drives the groups.

    Args:
        rates: ``(n_rates, 1 + n_resamples, n_groups)``; row 0 is the data.
        combined: What the ranges of several rates become: their ``np.max`` or ``np.mean``.

    Returns:
        The gap on the data, and ``(n_resamples,)`` of scatter: the range over groups of resample minus
        data, as if no group truly differed. NaN where a group is undefined, and below two groups.
    """
    if rates.shape[-1] < 2:
        return math.nan, np.full(rates.shape[1] - 1, np.nan)
    gap = combined(np.ptp(rates[:, 0], axis=-1), axis=0)
    return float(gap), combined(np.ptp(rates[:, 1:] - rates[:, :1], axis=-1), axis=0)


def gap_interval(gap: float, scatter: NDArray) -> tuple[float, float, str]:
    """Interval of a gap that cannot be negative: the gap plus and minus the 95th percentile of the scatter.

    Percentiles of the resampled gaps would not do: chance parts the groups, so resampled gaps lie above the
    gap itself and never reach 0. A range obeys the triangle inequality: the gap on the data is off by at
    most the range of the groups' errors, which the scatter imitates. So the interval covers with at least
    its nominal rate, holds the gap, and reaches 0 exactly when the gap is no larger than chance makes it.

    Args:
        gap: The gap on the data. A maximum or a mean of ranges may stand for a range.
        scatter: ``(n_resamples,)`` from ``gap_and_scatter``, combined in the same way.

    Returns:
        ``(low, high, reason)``; ``reason`` as in ``percentile_interval``.
    """
    margin, reason = _margin(scatter)
    return float(np.maximum(0, gap - margin)), gap + margin, reason  # np.maximum keeps NaN


def mean_scatter(scatter: NDArray) -> float:
    """The gap to expect between groups of these sizes with no true difference: the mean scatter."""
    varying, _ = varying_resamples(scatter)
    return float(varying.mean()) if varying.size else math.nan


def _margin(scatter: NDArray) -> tuple[float, str]:
    varying, reason = varying_resamples(scatter)
    return (quantile_of_sorted(varying, COVERAGE) if varying.size else math.nan), reason


def difference_rows(grouped: GroupedDraws, metric: str) -> list[dict[str, Any]]:
    """The signed difference of the two contrasted groups, for each finding and macro.

    ``n`` counts the images of both groups, ``n_positive`` the positives of the group with fewer. The
    macro row is the difference of the macro means.
    """
    column = grouped.column
    if column.contrast is None:
        return []
    pair = [column.groups.index(group) for group in column.contrast]
    rows = []
    for f, finding in enumerate(grouped.findings):
        undefined = [f"{column.groups[g]}: {grouped.reasons[g, f]}" for g in pair if not grouped.defined[g, f]]
        draws = grouped.draws[:, pair[0], f] - grouped.draws[:, pair[1], f]
        agreeing = _agreeing(grouped, pair, grouped.draws[:, pair, f])
        rows.append(
            metric_row(
                draws[0],
                _no_interval(agreeing) if agreeing else percentile_interval(draws[1:]),
                finding=finding,
                metric=metric,
                group_column=column.name,
                group_value=column.contrast_name,
                n=grouped.n[pair, f].sum(),
                n_positive=grouped.n_positive[pair, f].min(),
                reason=joined(*undefined) or grouped.reasons[pair[0], f],
            )
        )
    return rows


def range_rows(aurocs: GroupedDraws) -> list[dict[str, Any]]:
    """``auroc_range``: the largest minus the smallest AUROC, for each finding and for the macro means."""
    rows = []
    for f in range(len(aurocs.findings)):
        groups = np.flatnonzero(aurocs.defined[:, f])
        draws = aurocs.draws[:, groups, f]
        agreeing = _agreeing(aurocs, groups, draws)
        rows.append(_gap_row(aurocs, "auroc_range", f, groups, *gap_and_scatter(draws[np.newaxis]), agreeing))
    return rows


def worst_group_rows(aurocs: GroupedDraws) -> list[dict[str, Any]]:
    """``worst_group_auroc``: the smallest AUROC of a group, for each finding and for the macro means.

    The smallest of several AUROCs is smaller on resamples than on the data, as chance adds to what parts the
    groups, so percentiles would lie too low. But it is off by at most the largest of the groups' errors:
    the interval is the value plus and minus the 95th percentile of that, which covers with at least its
    nominal rate. ``reason`` names the group that is worst on the data.
    """
    rows = []
    for f in range(len(aurocs.findings)):
        groups = np.flatnonzero(aurocs.defined[:, f])
        draws = aurocs.draws[:, groups, f]
        value, interval, name = math.nan, _no_interval([]), ""
        if len(groups) >= 2:
            value, name = float(draws[0].min()), aurocs.column.groups[groups[draws[0].argmin()]]
            margin, note = _margin(np.abs(draws[1:] - draws[0]).max(axis=1))
            interval = (float(np.maximum(0, value - margin)), float(np.minimum(1, value + margin)), note)
        if agreeing := _agreeing(aurocs, groups, draws):
            interval = _no_interval(agreeing)
        rows.append(_row_of_groups(aurocs, "worst_group_auroc", "min", f, groups, value, interval, told=name))
    return rows


def gap_rows(by_metric: Mapping[str, GroupedDraws]) -> list[dict[str, Any]]:
    """Every gap of ``GAPS`` for each finding and macro.

    They are fairlearn's: ``tpr_difference`` its equal opportunity difference, ``selection_rate_difference`` its
    demographic parity difference, ``equalized_odds_difference`` the larger (``agg="worst_case"``) and
    ``equalized_odds_difference_mean`` the mean (``agg="mean"``) of the TPR and FPR difference. Macro is the mean
    of the findings' gaps, so that opposite gaps of two findings do not cancel.

    ``ece_difference`` has no interval and no noise floor, as ECE is biased up, the more the smaller the group;
    ``calibration_in_the_large_difference`` has both.
    """
    return [
        row
        for name, (names, combined) in GAPS.items()
        for row in _gap_rows(name, [by_metric[each] for each in names], combined)
    ]


def _gap_rows(metric: str, rates: Sequence[GroupedDraws], combined: Combined) -> list[dict[str, Any]]:
    first = rates[0]
    gaps = np.full(len(first.findings), np.nan)
    scatters = np.full((len(first.draws) - 1, len(first.findings)), np.nan)
    rows = []
    for f in range(len(first.findings) - 1):
        groups = np.flatnonzero(first.defined[:, f])
        draws = np.stack([rate.draws[:, groups, f] for rate in rates])
        gaps[f], scatters[:, f] = gap_and_scatter(draws, combined)
        agreeing = _agreeing(first, groups, *draws)
        rows.append(_gap_row(first, metric, f, groups, gaps[f], scatters[:, f], agreeing))
    groups = np.flatnonzero(first.defined[:, -1])
    if groups.size:
        gaps[-1] = gaps[:-1][first.shared].mean()
        scatters[:, -1] = scatters[:, :-1][:, first.shared].mean(axis=1)
    return [*rows, _gap_row(first, metric, -1, groups, gaps[-1], scatters[:, -1])]


def _gap_row(
    grouped: GroupedDraws,
    metric: str,
    f: int,
    groups: NDArray,
    gap: float,
    scatter: NDArray,
    agreeing: Sequence[str] = (),
) -> dict[str, Any]:
    interval, floor = gap_interval(gap, scatter), mean_scatter(scatter)
    if agreeing:
        interval, floor = _no_interval(agreeing), math.nan
    return _row_of_groups(grouped, metric, GAP_NAME, f, groups, gap, interval, noise_floor=floor)


def _agreeing(grouped: GroupedDraws, groups: Sequence[int] | NDArray, *rates: NDArray) -> list[str]:
    """Names of the ``groups`` in which all resamples of a rate agree, as those of ten hits out of ten do.

    How far off such a group is no resample tells, so that an interval of what it is part of would be too short.
    ``rates`` are ``(1 + n_resamples, n_groups)`` each.
    """
    return [
        grouped.column.groups[g]
        for place, g in enumerate(groups)
        if any(varying_resamples(rate[1:, place])[1] == ALL_AGREE for rate in rates)
    ]


def _no_interval(agreeing: Sequence[str]) -> tuple[float, float, str]:
    note = f"all resamples of {' and of '.join(agreeing)} agree: no interval" if agreeing else ""
    return math.nan, math.nan, note


def _row_of_groups(
    grouped: GroupedDraws,
    metric: str,
    group_value: str,
    f: int,
    groups: NDArray,
    value: float,
    interval: tuple[float, float, str],
    *,
    noise_floor: float = math.nan,
    told: str = "",
) -> dict[str, Any]:
    """A row about all ``groups``: ``n`` counts their images, ``n_positive`` the positives of the group with fewest."""
    names = grouped.column.groups
    left_out = [name for g, name in enumerate(names) if g not in groups]
    if len(groups) < 2:
        reason = "fewer than two groups can be measured"
    else:
        reason = joined(told, grouped.reasons[groups[0], f], f"without {' and '.join(left_out)}" if left_out else "")
    return metric_row(
        float(value),
        interval,
        finding=grouped.findings[f],
        metric=metric,
        group_column=grouped.column.name,
        group_value=group_value,
        n=grouped.n[groups, f].sum(),
        n_positive=grouped.n_positive[groups, f].min() if len(groups) else 0,
        noise_floor=noise_floor,
        reason=reason,
    )
