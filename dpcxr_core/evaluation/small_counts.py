"""Which numbers of a metrics table may be shown, as counts below 10 can point at people."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dpcxr_core.evaluation.groups import MIN_COUNT, few_patients


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
    positives of no group, where that, or positives or negatives of fewer than 10 patients, occur. A share of positives
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


def _told(rows: pd.DataFrame, counts: pd.Series, few: pd.Series) -> pd.Series:
    """The cells below 10, the ``few``, and every group where one of these, or what a column leaves over, is few."""
    in_groups = rows["group_column"] != "all"
    left_over = counts[~in_groups].sum() - counts[in_groups].groupby(rows["group_column"]).sum()
    any_few = bool(few[in_groups].any() or _few(left_over).any())
    return few | (counts < MIN_COUNT) | (in_groups & any_few)


def _few(counts: pd.Series) -> pd.Series:
    return (counts > 0) & (counts < MIN_COUNT)
