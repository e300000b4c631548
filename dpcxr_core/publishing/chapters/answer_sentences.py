"""Sentences about what the cells of a study say, whose every number comes from a table of the run."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from dpcxr_core.evaluation.comparing.paired import LEVEL
from dpcxr_core.planning.study_file import Study
from dpcxr_core.study.data_choice import SIMULATED

_SHOWN = 5


def counted(table: pd.DataFrame, more: str, less: str) -> str:
    """How many of a family's contrasts lie above 0, how many below, and how many cannot be told from it.

    Args:
        table: With ``value p_adjusted se_seeds``; one family.
        more: What those above 0 do, such as "do better".
        less: What those below 0 do.
    """
    tested = table.dropna(subset="p_adjusted")
    if tested.empty:
        return "Nothing can be compared: the runs that this takes are missing."
    told = tested["p_adjusted"] <= LEVEL
    above, below = int((told & (tested["value"] > 0)).sum()), int((told & (tested["value"] < 0)).sum())
    sentence = (
        f"Of {len(tested)} comparisons, {above} {more}, {below} {less}, and {len(tested) - above - below} cannot be "
        "told from no difference (Holm)."
    )
    alone = int(tested["se_seeds"].isna().sum())
    if not alone:
        return sentence
    which = "There is one seed" if alone == len(tested) else f"For {alone} of them there is one seed"
    return f"{sentence} {which}: this counts other patients, and not what another training would give."


def done(cells: pd.DataFrame, of_comparison: Collection[str]) -> str:
    """How many planned cells have run, and how many of these ran in the comparison before.

    Args:
        cells: With ``state`` and ``run_id``.
        of_comparison: Runs of the comparison, by name; empty where nobody looked for them, and nothing is said of them.
    """
    sentence = f"Of {len(cells)} cells, {(cells['state'] == 'done').sum()} are done"
    if not of_comparison:
        return f"{sentence}."
    n_shared = cells["run_id"].isin(of_comparison).sum()
    return f"{sentence}; {n_shared} of these are runs of the comparison, and were not run again."


def missing(cells: pd.DataFrame) -> str:
    """Which planned cells have no run, so that what rests on them is missing here.

    Args:
        cells: With ``cell`` and ``state``. One that only pretrains has no scores to read, done or not.
    """
    lost = cells.loc[cells["state"] != "done", "cell"]
    if lost.empty:
        return f"Every cell that this page reads has run ({len(cells)} in all)."
    named = ", ".join(f"`{name}`" for name in lost.head(_SHOWN))
    more = f" and {len(lost) - _SHOWN} others" if len(lost) > _SHOWN else ""
    return (
        f"{len(lost)} of the {len(cells)} cells that this page reads have not run: {named}{more}. What rests on them "
        "is missing here; `dpcxr study` with this study file runs them."
    )


def verdicts(table: pd.DataFrame) -> str:
    """Which claims are supported, contradicted and not decided, by number."""
    parts = []
    for verdict in ("supported", "contradicted", "not decided"):
        numbers = table.loc[table["verdict"].str.startswith(verdict), "claim"].astype(str).to_list()
        parts.append(f"{len(numbers)} {verdict}" + (f" (claim {', '.join(numbers)})" if numbers else ""))
    return f"Of {len(table)} claims: {', '.join(parts)}."


def what_is_tested(study: Study) -> str:
    """Whether verdicts on the paper's claims say anything about the paper: not on simulated images or stand-ins."""
    drawn = [name for name, choice in study.data.items() if choice.data_source == SIMULATED]
    standins = [name for name, choice in study.initialisations.items() if choice.is_standin]
    parts = [
        *([f"the images of {', '.join(drawn)} are simulated"] if drawn else []),
        *([f"{', '.join(standins)} are stand-ins"] if standins else []),
    ]
    if parts:
        return (
            f"**This tests the machinery and not the paper.** In this study {' and '.join(parts)}. A verdict below "
            "says that the test can reach one from runs like these. It is no evidence for the paper, nor against it."
        )
    return (
        f"Images of {', '.join(study.data)} and weights are those that the study file names. How far its settings are "
        "those of the paper, its comments say."
    )
