"""Gaps between groups: signed differences, and ranges with intervals that can reach zero."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.grouped import GroupedDraws, joined, metric_row
from dpcxr_core.evaluation.resampling.patients import COVERAGE, defined_resamples, percentile_interval

GAP_NAME = "max-min"


def weighted_share(chosen: NDArray, y_pred: NDArray, weights: NDArray) -> NDArray[np.float64]:
    """Share predicted positive among the chosen images, in each resample.

    Among the positives of a group this is its TPR, among the negatives its FPR.

    Args:
        chosen: ``(n_images,)`` of bool.
        y_pred: ``(n_images,)`` of bool.
        weights: ``(n_resamples, n_images)``, not negative.

    Returns:
        ``(n_resamples,)`` in [0, 1]; NaN where no chosen image has weight.
    """
    chosen_weights = weights[:, chosen]
    n_chosen = chosen_weights.sum(axis=1, dtype=float)
    n_predicted = chosen_weights[:, y_pred[chosen]].sum(axis=1, dtype=float)
    return np.divide(n_predicted, n_chosen, out=np.full(len(weights), np.nan), where=n_chosen > 0)


def gap_and_scatter(rates: NDArray) -> tuple[float, NDArray[np.float64]]:
    """The largest minus the smallest group, and how far apart resampling alone drives the groups.

    Args:
        rates: ``(n_rates, 1 + n_resamples, n_groups)``; row 0 is the data. Of several rates, the largest
            range counts.

    Returns:
        The gap on the data, and ``(n_resamples,)`` of scatter: the range over groups of resample minus
        data, as if no group truly differed. NaN where a group is undefined, and below two groups.
    """
    if rates.shape[-1] < 2:
        return math.nan, np.full(rates.shape[1] - 1, np.nan)
    return float(np.ptp(rates[:, 0], axis=-1).max()), np.ptp(rates[:, 1:] - rates[:, :1], axis=-1).max(axis=0)


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
        ``(low, high, reason)``; ``reason`` gives the noise floor, the gap to expect with no true difference.
    """
    defined, undefined = defined_resamples(scatter)
    if not defined.size:
        return math.nan, math.nan, undefined
    margin = float(np.quantile(defined, COVERAGE))
    floor = f"never negative: about {defined.mean():.3f} is expected with no true difference"
    return max(0.0, gap - margin), gap + margin, joined(undefined, floor)


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
        rows.append(
            metric_row(
                draws[0],
                percentile_interval(draws[1:]),
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


def auroc_range_rows(aurocs: GroupedDraws) -> list[dict[str, Any]]:
    """Largest minus smallest AUROC over the groups, for each finding and for the macro means."""
    rows = []
    for f in range(len(aurocs.findings)):
        groups = np.flatnonzero(aurocs.defined[:, f])
        gap, scatter = gap_and_scatter(aurocs.draws[np.newaxis, :, groups, f])
        rows.append(_gap_row(aurocs, "auroc_range", f, groups, gap, scatter))
    return rows


def rate_gap_rows(tprs: GroupedDraws, fprs: GroupedDraws) -> list[dict[str, Any]]:
    """The TPR difference and the equalized odds difference, for each finding and macro.

    The TPR difference is the largest minus the smallest group TPR; the equalized odds difference is the
    larger of that and the same for FPR (fairlearn's ``equal_opportunity_difference``, and
    ``equalized_odds_difference`` with ``agg="worst_case"``). Macro is the mean of the findings' gaps, so
    that opposite gaps of two findings do not cancel.
    """
    rows = []
    for metric, rates in (("tpr_difference", [tprs]), ("equalized_odds_difference", [tprs, fprs])):
        gaps = np.full(len(tprs.findings), np.nan)
        scatters = np.full((len(tprs.draws) - 1, len(tprs.findings)), np.nan)
        for f in range(len(tprs.findings) - 1):
            groups = np.flatnonzero(tprs.defined[:, f])
            draws = np.stack([rate.draws[:, groups, f] for rate in rates])
            gaps[f], scatters[:, f] = gap_and_scatter(draws)
            rows.append(_gap_row(tprs, metric, f, groups, gaps[f], scatters[:, f]))
        groups = np.flatnonzero(tprs.defined[:, -1])
        if groups.size:
            gaps[-1] = gaps[:-1][tprs.shared].mean()
            scatters[:, -1] = scatters[:, :-1][:, tprs.shared].mean(axis=1)
        rows.append(_gap_row(tprs, metric, -1, groups, gaps[-1], scatters[:, -1]))
    return rows


def _gap_row(
    grouped: GroupedDraws, metric: str, f: int, groups: NDArray, gap: float, scatter: NDArray
) -> dict[str, Any]:
    """A gap over ``groups``: ``n`` counts all their images, ``n_positive`` those of the group with fewest."""
    names = grouped.column.groups
    left_out = [name for g, name in enumerate(names) if g not in groups]
    if len(groups) < 2:
        reason = "fewer than two groups can be measured"
    else:
        reason = joined(grouped.reasons[groups[0], f], f"without {', '.join(left_out)}" if left_out else "")
    return metric_row(
        float(gap),
        gap_interval(gap, scatter),
        finding=grouped.findings[f],
        metric=metric,
        group_column=grouped.column.name,
        group_value=GAP_NAME,
        n=grouped.n[groups, f].sum(),
        n_positive=grouped.n_positive[groups, f].min() if len(groups) else 0,
        reason=reason,
    )
