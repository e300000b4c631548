"""Metrics and claims as they may leave a hospital: without counts that can point at people, and rounded."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.groups import MIN_COUNT
from dpcxr_core.evaluation.small_counts import hidden_counts, without_small_cells
from dpcxr_core.study.claim_contrasts import REGIME
from dpcxr_core.tables import METRICS

DECIMALS = 3  # a rate with all its digits is a fraction, and tells the count below it
_WITHHELD = "withheld, as it tells a small count"
_TEST = ["dataset", "finding"]
_GROUP = [*_TEST, "group_column", "group_value"]


def shareable_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    """``metrics`` with counts as ``hidden_counts`` lets them be seen, and values to a thousandth.

    Args:
        metrics: METRICS of runs that are all tested on the same images.

    Returns:
        The METRICS columns; ``n`` and ``n_positive`` are Int64, missing where not shown, and never from 1 to 9. What
        rests on fewer than 10 images or positives is NaN, and so is a prevalence whose positives are not shown.
    """
    table, hidden = without_small_cells(metrics), _hidden_by_row(metrics)
    told = hidden["positives"] & (table["metric"] == "prevalence") & table["value"].notna()
    table.loc[told, ["value", "low", "high"]] = np.nan
    table.loc[told, "reason"] = _WITHHELD
    numbers = ["value", "low", "high", "noise_floor"]
    table[numbers] = table[numbers].round(DECIMALS) + 0.0  # -0.0 becomes 0.0
    table["n"] = table["n"].astype("Int64").mask(hidden["images"])
    table["n_positive"] = table["n_positive"].astype("Int64").mask(hidden["positives"])
    return table[list(METRICS.columns)]


def shareable_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """``claims`` as ``study.verdicts.claims_table``, with what was measured to a thousandth; verdicts stay.

    No group of fewer than 10 patients is compared in a gap, and the p of a difference does not tell its digits.
    """
    measured = claims.select_dtypes(float).columns.difference([*REGIME, "p", "p_adjusted"])
    return claims.assign(**(claims[measured].round(DECIMALS) + 0.0))


def small_counts_in(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``table`` with a count of images or positives from 1 to 9."""
    return table[(table[["n", "n_positive"]].gt(0) & table[["n", "n_positive"]].lt(MIN_COUNT)).any(axis=1)]


def _hidden_by_row(metrics: pd.DataFrame) -> pd.DataFrame:
    """``images positives`` of bool for each row of ``metrics``.

    A group is hidden in every metric, and in the mean over findings if in any of them. What compares groups is hidden
    where any group is.
    """
    groups = metrics[(metrics["metric"] == "auroc") & (metrics["finding"] != MACRO)].drop_duplicates(_GROUP)
    parts = [rows[_GROUP].join(hidden_counts(rows)) for _, rows in groups.groupby(_TEST, sort=False)]
    by_group = pd.concat(parts)
    of_macro = by_group.assign(finding=MACRO).groupby(_GROUP, sort=False).any().reset_index()
    by_group = pd.concat([by_group, of_macro], ignore_index=True)
    in_groups = by_group[by_group["group_column"] != "all"].groupby(_TEST)[["images", "positives"]].any()
    of_row = metrics[_GROUP].merge(by_group, how="left", on=_GROUP, validate="many_to_one").set_index(metrics.index)
    of_test = metrics[_TEST].join(in_groups, on=_TEST)
    few = {"images": metrics["n"] < MIN_COUNT, "positives": metrics["n_positive"] < MIN_COUNT}
    return pd.DataFrame(
        {name: of_row[name].astype("boolean").fillna(of_test[name].astype("boolean")) | few[name] for name in few},
        dtype=bool,
    )
