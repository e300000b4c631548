"""Sentences of the transfer chapter whose every number comes from a table of the run."""

from __future__ import annotations

import pandas as pd

from dpcxr_core.evaluation.transfer.abroad import APART, OPERATING_POINTS
from dpcxr_core.evaluation.transfer.conflicts import LIKELY_CONFLICT, NOT_TOLD_FROM_CHANCE
from dpcxr_core.evaluation.transfer.drop import ALL_ABROAD
from dpcxr_core.evaluation.transfer.transported import LOST_OPERATING_POINT, LOST_RANKING
from dpcxr_core.publishing.transfer_tables import level_name
from dpcxr_core.study.transferring import Abroad

ONE_HOSPITAL = "This profile has one data set only, so nothing can be said about other hospitals."


def drop(drops: pd.DataFrame) -> str:
    """The least and the greatest loss over the hospitals abroad, and whose they are."""
    if drops.empty:
        return ONE_HOSPITAL
    several = (drops["dataset"] == ALL_ABROAD).any()
    rows = drops[drops["dataset"] == ALL_ABROAD] if several else drops
    least, most = (rows.iloc[int(place)] for place in (rows["value"].argmin(), rows["value"].argmax()))
    where = f"Averaged over {drops['dataset'].nunique() - 1} hospitals" if several else f"To {rows['dataset'].iloc[0]}"
    return (
        f"{where}, the loss runs from {_with_condition(least)} to {_with_condition(most)}. A negative loss means that "
        "the other hospitals are easier."
    )


def moved(table: pd.DataFrame) -> str:
    """In how many comparisons more, or less, is lost abroad than by the counterpart."""
    if table.empty:
        return ONE_HOSPITAL
    told = table["p_adjusted"] <= 0.05
    more, less = int((told & (table["value"] > 0)).sum()), int((told & (table["value"] < 0)).sum())
    return (
        f"Of {len(table)} comparisons, {more} lose more abroad, {less} lose less, and {len(table) - more - less} "
        "cannot be told from no change."
    )


def conflicts(matrix: pd.DataFrame) -> str:
    """How many cells of single findings rank the wrong way round, and how many cannot be told from chance."""
    tested = matrix[matrix["finding"] != "macro"]
    wrong, unclear = (int((tested["note"] == note).sum()) for note in (LIKELY_CONFLICT, NOT_TOLD_FROM_CHANCE))
    return (
        f"Of {len(tested)} cells, {wrong} lie below one half beyond chance, and {unclear} cannot be told from one "
        "half. The others are above it."
    )


def losses(abroad: Abroad) -> str:
    """Which of the two losses of Youden's index is larger, by hospital, in the mean over findings."""
    table = abroad.tables[OPERATING_POINTS].query("finding == 'macro'").set_index(["dataset", "where"])["value"]
    parts = [
        f"{name} loses {table[name, LOST_RANKING]:+.3f} to ranking and {table[name, LOST_OPERATING_POINT]:+.3f} to the "
        "operating point"
        for name in dict.fromkeys(table.index.get_level_values("dataset"))
    ]
    return f"In the mean over findings, {'; '.join(parts)}." if parts else ONE_HOSPITAL


def shifts(abroad: Abroad) -> str:
    """In how many findings and hospitals positives, or negatives, score otherwise than at home."""
    table = abroad.tables[APART]
    if table.empty:
        return ONE_HOSPITAL
    found = table[table["verdict"].isin(["above", "below"])].groupby("among").size()
    n = len(table) // table["among"].nunique()
    return (
        f"Of {n} pairs of a finding and a hospital, positives score otherwise than at home in "
        f"{found.get('positives', 0)}, and negatives in {found.get('negatives', 0)} (Holm over all of them)."
    )


def unmeasured(abroad: Abroad) -> str:
    """Which findings could not be measured in which hospital, and why."""
    if not abroad.unmeasured:
        return "Every finding could be measured in every hospital."
    parts = [f"{finding.replace('_', ' ')} in {name} ({why})" for (name, finding), why in abroad.unmeasured.items()]
    return f"Not measured: {', '.join(parts)}."


def _with_condition(row: pd.Series) -> str:
    return f"{row['value']:+.3f} (*{row['init_label']}, {level_name(row['kind'], row['target_epsilon'])}*)"
