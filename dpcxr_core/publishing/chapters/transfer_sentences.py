"""Sentences of the transfer chapter whose every number comes from a table of the run."""

from __future__ import annotations

import pandas as pd

from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.comparing.paired import LEVEL
from dpcxr_core.evaluation.transfer.abroad import APART, OPERATING_POINTS
from dpcxr_core.evaluation.transfer.conflicts import BELOW_ONE_HALF, LIKELY_CONFLICT, NOT_TOLD_FROM_CHANCE
from dpcxr_core.evaluation.transfer.transported import LOST_OPERATING_POINT, NOT_GOT_BACK
from dpcxr_core.publishing.chapters.transfer_tables import over_hospitals
from dpcxr_core.publishing.results import level_name
from dpcxr_core.publishing.tables import show_number
from dpcxr_core.study.transferring import Abroad

NOTHING_MEASURED = "No finding could be measured in another hospital."
ONE_HOSPITAL = "This profile has one data set only, so nothing can be said about other hospitals."
_LOSSES = (NOT_GOT_BACK, LOST_OPERATING_POINT)


def drop(drops: pd.DataFrame) -> str:
    """The least and the greatest loss over the hospitals abroad, and whose they are."""
    if drops.empty:
        return ONE_HOSPITAL
    rows, where = over_hospitals(drops)
    rows = rows.dropna(subset="value")
    if rows.empty:
        return "No loss can be measured in another hospital."
    least, most = (rows.iloc[int(place)] for place in (rows["value"].argmin(), rows["value"].argmax()))
    return (
        f"The loss to {where} runs from {_with_condition(least)} to {_with_condition(most)}. A negative loss means "
        "that the other hospitals are easier."
    )


def moved(table: pd.DataFrame) -> str:
    """In how many comparisons more, or less, is lost abroad than by the counterpart."""
    if table.empty:
        return ONE_HOSPITAL
    told = table["p_adjusted"] <= LEVEL
    more, less = int((told & (table["value"] > 0)).sum()), int((told & (table["value"] < 0)).sum())
    return (
        f"Of {len(table)} comparisons, {more} lose more abroad, {less} lose less, and {len(table) - more - less} "
        "cannot be told from no change."
    )


def conflicts(matrix: pd.DataFrame) -> str:
    """How many cells of single findings rank the wrong way, or cannot be told from chance, and which are undefined."""
    tested = matrix[matrix["finding"] != MACRO]
    wrong = int(tested["note"].isin([LIKELY_CONFLICT, BELOW_ONE_HALF]).sum())
    unclear = int((tested["note"] == NOT_TOLD_FROM_CHANCE).sum())
    undefined = [
        f"{cell['finding'].replace('_', ' ')} from {cell['train_dataset']} to {cell['dataset']}"
        for cell in tested[tested["note"] == "undefined"].to_dict("records")
    ]
    sentence = (
        f"Of {len(tested)} cells, {wrong} lie below one half beyond chance, {unclear} cannot be told from one half, "
        f"and {len(undefined)} are undefined. The others are above one half."
    )
    return f"{sentence} Undefined: {', '.join(undefined)}." if undefined else sentence


def losses(abroad: Abroad) -> str:
    """Which of the two losses of Youden's index is larger, by hospital, in the mean over findings."""
    table = abroad.tables[OPERATING_POINTS].query("finding == @MACRO").set_index(["dataset", "where"])
    parts = []
    for name, rows in table.groupby("dataset", sort=False):
        values = rows["value"].droplevel("dataset")
        lost = {where: show_number(values[where], "+.3f") for where in _LOSSES}
        covered = [note for note in rows["reason"].iloc[0].split("; ") if note.startswith("mean over")]
        parts.append(
            f"{', '.join([str(name), *covered])} loses {lost[NOT_GOT_BACK]} that re-tuning does not get back and "
            f"{lost[LOST_OPERATING_POINT]} to the operating point"
        )
    return f"In the mean over findings, {'; '.join(parts)}." if parts else _nothing(abroad)


def shifts(abroad: Abroad) -> str:
    """In how many findings and hospitals positives, or negatives, score otherwise than at home."""
    table = abroad.tables[APART]
    if table.empty:
        return _nothing(abroad)
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


def _nothing(abroad: Abroad) -> str:
    return NOTHING_MEASURED if abroad.unmeasured or len(abroad.tables[OPERATING_POINTS]) else ONE_HOSPITAL


def _with_condition(row: pd.Series) -> str:
    return f"{row['value']:+.3f} (*{row['init_label']}, {level_name(row['target_epsilon'], row['kind'])}*)"
