"""The cells of a study with what their runs scored: every answer is computed from these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.draws import Draws
from dpcxr_core.study.evaluating import draws_of
from dpcxr_core.study.places import StudyPlaces

Coefficients = Mapping[str, float]  # by run_id


@dataclass(frozen=True, eq=False)
class ScoredCells:
    """Planned cells and the draws of those that ran.

    Attributes:
        cells: One row a cell; ``run_id`` is None where it has no run to read.
        draws: Of each run, by data set tested on.
        home: By data set of the study, the internal test set of its runs.
        abroad: By data set of the study, the hospitals that its runs are only tested on.
    """

    cells: pd.DataFrame
    draws: Mapping[str, Mapping[str, Draws]]
    home: Mapping[str, str]
    abroad: Mapping[str, tuple[str, ...]]

    def of_grids(self, *grids: str) -> pd.DataFrame:
        """The cells of any of ``grids``."""
        inside = self.cells["grids"].map(lambda of_cell: bool(set(grids) & set(of_cell.split(", ")))).astype(bool)
        return self.cells[inside]

    def with_new_head(self, *grids: str) -> pd.DataFrame:
        """The cells of any of ``grids`` that do not keep the head of their initialisation."""
        return self.of_grids(*grids).query("head == 'reset'")

    def at_home(self, run_id: str, dataset: str) -> Draws:
        """Draws of a run on the internal test set of ``dataset``, the study's name of what it was trained on."""
        return self.draws[run_id][self.home[dataset]]

    def sum_of_aurocs(self, coefficients: Coefficients, dataset: str) -> NDArray[np.float64]:
        """``(1 + n_resamples,)`` of the macro AUROCs at home of runs on ``dataset``, each times its own, added up.

        The runs meet the same resamples of the same patients, so every row is a draw of the sum.
        """
        terms = [factor * auroc_of(self.at_home(run_id, dataset)) for run_id, factor in coefficients.items()]
        return np.sum(terms, axis=0)


def auroc_of(draws: Draws) -> NDArray[np.float64]:
    """``(1 + n_resamples,)`` of the macro AUROC of one run on all images of one data set."""
    return draws.of("auroc", MACRO, "all", "all").astype(float)


def scored_cells(folders: Sequence[Path], cells: pd.DataFrame, places_by_run: Mapping[str, StudyPlaces]) -> ScoredCells:
    """The cells with the draws of those whose record is among ``folders``; what is not evaluated yet is now.

    Args:
        folders: Record folders, in any order.
        cells: ``planning.cells.cells_table`` with the ``run_id`` of each cell, missing where it has not run.
        places_by_run: Of each run, by run_id. Cells of another run, as of one that only pretrains, count as not run.
    """
    found = {folder.name: folder for folder in folders if folder.name in places_by_run}
    run_ids = cells["run_id"].astype(object).where(cells["run_id"].isin(found), None)
    cells = cells.assign(run_id=run_ids, target_epsilon=cells["target_epsilon"].astype(float))
    ran = cells.dropna(subset="run_id")
    places = {name: places_by_run[run_id] for name, run_id in zip(ran["dataset"], ran["run_id"], strict=True)}
    return ScoredCells(
        cells,
        {run_id: draws_of(found[run_id], places_by_run[run_id]) for run_id in dict.fromkeys(ran["run_id"])},
        {name: each.private_dataset for name, each in places.items()},
        {name: each.external_datasets for name, each in places.items()},
    )
