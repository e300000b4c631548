"""Which numbers of a metrics table may be shown, as counts below 10 can point at people."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dpcxr_core.evaluation.comparing.gaps import GAPS
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.groups import MIN_COUNT, few_patients

_OF_SHARES = ("prevalence", "selection_rate", "ppv", "npv", "f1")
# with TPR and FPR each of these tells the share of positives, and so their number
TELL_A_SHARE = (*_OF_SHARES, *(gap for gap, (rates, _) in GAPS.items() if {*rates} & {*_OF_SHARES}))
TELLS_A_COUNT = "withheld, as it tells a small count"
_TEST = ["dataset", "finding"]
_GROUP = [*_TEST, "group_column", "group_value"]


def showable_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    """``metrics`` with the values that may be shown; what rests on small counts, or tells them, is NaN, with a reason.

    A group's TPR and FPR with its selection rate, ``p TPR + (1 - p) FPR``, tell its prevalence p; so they do with its
    PPV, NPV or F1. So all of ``TELL_A_SHARE`` is withheld where ``hidden_by_row`` hides the positives. Counts stay.

    Args:
        metrics: METRICS of runs that are all tested on the same images; as evaluated, and whole, as rows of AUROC name
            the groups. Of a test set and finding without such rows nothing is known, and all of this is withheld.
    """
    table = without_small_cells(metrics)
    told = hidden_by_row(metrics)["positives"] & table["metric"].isin(TELL_A_SHARE) & table["value"].notna()
    table.loc[told, ["value", "low", "high", "noise_floor"]] = np.nan
    table.loc[told, "reason"] = TELLS_A_COUNT
    return table


def without_small_cells(metrics: pd.DataFrame) -> pd.DataFrame:
    """``metrics``, where what rests on fewer than 10 images or positives is NaN, with a reason."""
    table = metrics.copy()
    small = (table["n"] < MIN_COUNT) | (table["n_positive"] < MIN_COUNT)
    table.loc[small, ["value", "low", "high"]] = np.nan
    table.loc[small, "reason"] = f"fewer than {MIN_COUNT} images or positives"
    return table


def hidden_counts(rows: pd.DataFrame) -> pd.DataFrame:
    """Whether the images of each group, and its positives, stay hidden: ``images positives`` of bool, a row each.

    Group columns part the same images in several ways, and one table's margin is another's cell. So where any cell
    has 1 to 9 images, or positives and negatives of fewer than 10 patients, the images of no group are shown; and the
    positives of no group, where that, or positives or negatives of fewer than 10 patients, occur. ``TELL_A_SHARE``
    tells them, and is to be hidden with them. Patients whose group was not recorded count as a cell, by their images:
    METRICS does not say how many they are.

    Args:
        rows: METRICS rows of one run, test set, finding and metric, as evaluated: a reason names few patients.
    """
    n, positives = rows["n"], rows["n_positive"]
    negatives = n - positives
    few_positives, few_negatives = (
        _few(counts) | rows["reason"].str.contains(few_patients(name), regex=False)
        for name, counts in (("positives", positives), ("negatives", negatives))
    )
    none_or_few = (few_positives | (positives == 0)) & (few_negatives | (negatives == 0))
    images = _told(rows, n, _few(n) | (none_or_few & (n > 0)))
    of_labels = _told(rows, positives, few_positives) | _told(rows, negatives, few_negatives)
    return pd.DataFrame({"images": images, "positives": images | of_labels})


def hidden_by_row(metrics: pd.DataFrame) -> pd.DataFrame:
    """``images positives`` of bool for each row of ``metrics``, which is as for ``showable_metrics``.

    A group is hidden in every metric, and in the mean over findings if in any of them. What compares groups is hidden
    where any group is.
    """
    groups = metrics[(metrics["metric"] == "auroc") & (metrics["finding"] != MACRO)].drop_duplicates(_GROUP)
    if groups.empty:
        return pd.DataFrame(True, index=metrics.index, columns=["images", "positives"])
    parts = [rows[_GROUP].join(hidden_counts(rows)) for _, rows in groups.groupby(_TEST, sort=False)]
    by_group = pd.concat(parts)
    of_macro = by_group.assign(finding=MACRO).groupby(_GROUP, sort=False).any().reset_index()
    by_group = pd.concat([by_group, of_macro], ignore_index=True)
    in_groups = by_group[by_group["group_column"] != "all"].groupby(_TEST)[["images", "positives"]].any()
    of_row = metrics[_GROUP].merge(by_group, how="left", on=_GROUP, validate="many_to_one").set_index(metrics.index)
    of_test = metrics[_TEST].join(in_groups, on=_TEST).astype(dict.fromkeys(in_groups, "boolean")).fillna(True)
    few = {"images": metrics["n"] < MIN_COUNT, "positives": metrics["n_positive"] < MIN_COUNT}
    return pd.DataFrame(
        {name: of_row[name].astype("boolean").fillna(of_test[name]) | few[name] for name in few}, dtype=bool
    )


def _told(rows: pd.DataFrame, counts: pd.Series, few: pd.Series) -> pd.Series:
    """The cells below 10, the ``few``, and every group where one of these, or what a column leaves over, is few."""
    in_groups = rows["group_column"] != "all"
    left_over = counts[~in_groups].sum() - counts[in_groups].groupby(rows["group_column"]).sum()
    any_few = bool(few[in_groups].any() or _few(left_over).any())
    return few | (counts < MIN_COUNT) | (in_groups & any_few)


def _few(counts: pd.Series) -> pd.Series:
    return (counts > 0) & (counts < MIN_COUNT)
