"""AUROC lost on the way from the hospital trained on to others, and what privacy and the initialisation do to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.difference_in_differences import with_and_without_privacy
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.comparing.multiplicity import holm, with_adjusted_p
from dpcxr_core.evaluation.comparing.paired import CONTRAST_COLUMNS, contrasts_over_seeds
from dpcxr_core.evaluation.draws import Draws

ALL_ABROAD = "mean of all"
DrawsByRun = Mapping[str, Mapping[str, Draws]]
_CONDITION = ["init_label", "kind", "target_epsilon"]


def drop_of_run(draws: Mapping[str, Draws], home: str, abroad: Sequence[str]) -> NDArray[np.float64]:
    """Macro AUROC on the data set ``home`` minus the mean over those ``abroad``: ``(1 + n_resamples,)``.

    Home and abroad hold other patients, so their resamples are independent, and each row is a draw of the difference.
    "macro" is the mean over the findings that both ends of a difference can measure: a hospital that lacks a finding
    is not compared with a mean that holds it.

    Args:
        draws: Of one run, by data set.
        home: The data set whose training images the run saw.
        abroad: Data sets to compare it with, at least one.
    """
    return np.mean([_drop(draws[home], draws[name]) for name in abroad], axis=0)


def measured_in_both(home: Draws, abroad: Draws) -> list[str]:
    """The findings whose AUROC is defined at both hospitals, in the order of ``home``."""
    return [
        finding
        for finding in home.findings
        if finding != MACRO
        and finding in abroad.findings
        and _is_defined(home, finding)
        and _is_defined(abroad, finding)
    ]


def drops(draws: DrawsByRun, runs: pd.DataFrame, home: str, abroad: Sequence[str]) -> pd.DataFrame:
    """The drop of every condition to each hospital abroad and, where there are several, to their mean.

    Args:
        draws: By run and data set.
        runs: Runs table: ``run_id init_label kind target_epsilon seed``.
        home: The data set whose training images the private runs saw.
        abroad: The other data sets; with none the table is empty.

    Returns:
        ``dataset init_label kind target_epsilon`` and the columns of ``paired.table_over_seeds``.
    """
    ends = {name: [name] for name in abroad} | ({ALL_ABROAD: list(abroad)} if len(abroad) > 1 else {})
    if not ends:
        return pd.DataFrame(columns=["dataset", *_CONDITION, *CONTRAST_COLUMNS])

    def drop(there: list[str], run: dict[str, Any]) -> NDArray[np.float64]:
        return drop_of_run(draws[run["run_id"]], home, there)

    tables = [
        contrasts_over_seeds(runs, _CONDITION, partial(drop, there)).assign(dataset=name)
        for name, there in ends.items()
    ]
    return pd.concat(tables, ignore_index=True)


def moved_by_privacy(draws: DrawsByRun, runs: pd.DataFrame, home: str, abroad: Sequence[str]) -> pd.DataFrame:
    """The macro drop with privacy minus that without it, of each initialisation: positive where privacy enlarges it.

    All four numbers of a seed come from two runs on the same resamples, so how much harder the hospitals abroad are
    cancels. Holm's correction is over the rows.

    Returns:
        ``init_label target_epsilon``, the columns of ``paired.table_over_seeds`` and ``family p_adjusted
        n_in_family``; the mean over the hospitals abroad, empty with none. Private runs without a counterpart are
        left out.
    """

    def moved(pair: dict[str, Any]) -> NDArray[np.float64]:
        with_privacy, without = draws[pair["run_id"]], draws[pair["run_id_without"]]
        return drop_of_run(with_privacy, home, abroad) - drop_of_run(without, home, abroad)

    pairs = with_and_without_privacy(runs if abroad else runs[:0])
    table = contrasts_over_seeds(pairs, ["init_label", "target_epsilon"], moved)
    return with_adjusted_p(table, "drops moved by privacy", holm)


def moved_by_initialisation(
    draws: DrawsByRun, runs: pd.DataFrame, home: str, abroad: Sequence[str], reference: str
) -> pd.DataFrame:
    """The macro drop from each initialisation minus that from ``reference``, at the same epsilon and seed.

    Args:
        draws: By run and data set.
        runs: Runs table.
        home: The data set whose training images the runs saw.
        abroad: The other data sets; with none the table is empty.
        reference: ``init_label`` to compare with.

    Returns:
        As ``moved_by_privacy``, with the column ``kind``.
    """
    trained = runs[runs["kind"].isin(["private", "non_private"]) & bool(abroad)]
    same = ["kind", "target_epsilon", "seed"]
    of_reference = trained[trained["init_label"] == reference][[*same, "run_id"]]
    pairs = trained[trained["init_label"] != reference].merge(of_reference, on=same, suffixes=("", "_reference"))

    def moved(pair: dict[str, Any]) -> NDArray[np.float64]:
        ours, theirs = draws[pair["run_id"]], draws[pair["run_id_reference"]]
        return drop_of_run(ours, home, abroad) - drop_of_run(theirs, home, abroad)

    table = contrasts_over_seeds(pairs, _CONDITION, moved)
    return with_adjusted_p(table, "drops moved by initialisation", holm)


def _drop(home: Draws, abroad: Draws) -> NDArray[np.float64]:
    findings = measured_in_both(home, abroad)
    if not findings:
        return np.full(len(home.values["auroc"]), np.nan)
    return np.mean([_auroc(home, each) - _auroc(abroad, each) for each in findings], axis=0)


def _is_defined(draws: Draws, finding: str) -> bool:
    return bool(np.isfinite(_auroc(draws, finding)[0]))


def _auroc(draws: Draws, finding: str) -> NDArray[np.float64]:
    return draws.of("auroc", finding, "all", "all").astype(float)
