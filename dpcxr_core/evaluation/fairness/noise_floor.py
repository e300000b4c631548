"""The gap between groups that chance alone makes, known before anything is measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.evaluation.comparing.grouped import MACRO, compared_and_shared, joined, macro_reason
from dpcxr_core.evaluation.describing.precision import auroc_standard_error
from dpcxr_core.evaluation.groups import too_few

# Within 1e-6 of the limit for standard errors up to 100 times apart, within 1 % for 1000 times.
_POINTS = np.linspace(-8, 8, 1601)
_DENSITY = np.exp(-(_POINTS**2) / 2) / math.sqrt(2 * math.pi)
_COUNTS = ("n", "n_positive")


def noise_floor(standard_errors: ArrayLike) -> tuple[float, float]:
    """Mean and 95th percentile of the max-min gap of groups that do not differ: ``(expected, percentile_95)``.

    The estimates of the groups are taken as independent, normal and of one mean. Nothing is drawn: the values come
    from the distribution of the range.

    Args:
        standard_errors: ``(n_groups,)``, positive; of two groups or more.

    Raises:
        UserError: There are fewer than two, or one is not a positive number.

    Source:
        David and Nagaraja (2003), "Order statistics", section 2.3: the range, for unequal distributions.

    Example:
        >>> expected, percentile_95 = noise_floor([0.02, 0.02])  # the size of a normal number of sqrt(2) x 0.02
        >>> round(expected, 4), round(percentile_95, 4)
        (0.0226, 0.0554)
    """
    errors = np.asarray(standard_errors, dtype=float)
    if errors.size < 2 or not (np.isfinite(errors) & (errors > 0)).all():
        raise UserError(f"a gap needs two groups or more, each with a positive standard error; got {errors.tolist()}")
    estimates = [error * _POINTS for error in errors]
    others = [np.delete(errors, g)[:, np.newaxis] for g in range(errors.size)]

    def chance_of_at_most(gap: float) -> float:
        # one group is the smallest, and each of the others lies above it by the gap at most
        return sum(
            _mean(np.prod(ndtr((smallest + gap) / rest) - ndtr(smallest / rest), axis=0))
            for smallest, rest in zip(estimates, others, strict=True)
        )

    largest = sum(
        _mean(each * np.prod(ndtr(each / rest), axis=0)) for each, rest in zip(estimates, others, strict=True)
    )
    # by symmetry the smallest is minus the largest on average
    return 2 * largest, brentq(lambda gap: chance_of_at_most(gap) - 0.95, 0, 20 * errors.max())


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.trapezoid(values * _DENSITY, _POINTS))


def noise_floors(counts: pd.DataFrame, auroc: float) -> pd.DataFrame:
    """The max-min gap of AUROC to expect between groups that do not differ, for each way to part the images.

    It takes images for independent and scores for exponentially distributed. Images of one patient are alike, so that
    the true floor is higher where patients have many images; normally distributed scores lower it by about a sixth.
    The floor that ``evaluate`` states beside a gap knows both, but needs scores.

    Args:
        counts: Columns ``group_column group_value finding n n_positive``, one row a group and finding, as the "auroc"
            rows of a METRICS table of one run and data set have them; "macro" rows are left out.
        auroc: The AUROC that every group is supposed to have, in [0, 1].

    Returns:
        Columns ``group_column finding n_groups n_positive expected percentile_95 reason``, one row a column of two
        groups or more and finding, and "macro". ``n_positive`` is that of the group with fewest. Groups with fewer
        than 10 positives or negatives are left out; NaN and a reason below two groups.
        The macro mean takes the findings that every group can show, as ``grouped_draws`` does, as independent.
    """
    rows = []
    counts = counts[counts["finding"] != MACRO]
    for column in counts["group_column"].unique():
        table = counts[counts["group_column"] == column]
        if table["group_value"].nunique() > 1:
            # a row a group, a column a finding
            n, n_positive = (table.pivot(index="group_value", columns="finding", values=each) for each in _COUNTS)
            errors = pd.DataFrame(np.vectorize(_error, otypes=[float])(auroc, n, n_positive), n.index, n.columns)
            rows += [_row(column, each, errors[each], n_positive[each]) for each in table["finding"].unique()]
            rows.append(_macro_row(column, errors, n_positive))
    names = ["group_column", "finding", "n_groups", "n_positive", "expected", "percentile_95", "reason"]
    return pd.DataFrame(rows, columns=names)


def _error(auroc: float, n: int, n_positive: int) -> float:
    """Standard error of a group's AUROC; NaN where the group is too small to be measured."""
    n_negative = n - n_positive
    return math.nan if too_few(n_positive, n_negative) else auroc_standard_error(auroc, n_positive, n_negative)


def _macro_row(column: str, errors: pd.DataFrame, n_positive: pd.DataFrame) -> dict[str, Any]:
    errors = errors[[finding for finding in FINDINGS if finding in errors]]
    errors = errors.loc[compared_and_shared(errors.notna().to_numpy())]
    of_mean = np.sqrt((errors**2).sum(axis=1, min_count=1)) / max(errors.shape[1], 1)
    row = _row(column, MACRO, of_mean, n_positive.loc[errors.index, errors.columns].min(axis=1))
    return row | {"reason": joined(row["reason"], macro_reason(errors.columns.to_list()))}


def _row(column: str, finding: str, errors: pd.Series, n_positive: pd.Series) -> dict[str, Any]:
    known = errors.notna()
    expected, percentile_95 = noise_floor(errors[known]) if known.sum() > 1 else (math.nan, math.nan)
    return {
        "group_column": column,
        "finding": finding,
        "n_groups": int(known.sum()),
        "n_positive": int(n_positive[known].min()) if known.any() else 0,
        "expected": expected,
        "percentile_95": percentile_95,
        "reason": "" if known.sum() > 1 else "fewer than two groups can be measured",
    }
