"""Macro AUROC at home of the cells of a study, over seeds: what differences and gains are differences of."""

from __future__ import annotations

import pandas as pd

from dpcxr_core.study.over_seeds import contrasts_of_study
from dpcxr_core.study.scored_cells import ScoredCells

CONDITION = ["dataset", "architecture", "unit", "fraction", "head", "initialisation", "target_epsilon"]


def macro_aurocs(scored: ScoredCells, *grids: str) -> pd.DataFrame:
    """Macro AUROC on the internal test set of every condition of ``grids`` that has run.

    Args:
        scored: Cells of the study.
        grids: Names of grids whose cells differ in ``CONDITION`` and seed alone.

    Returns:
        ``CONDITION`` and the columns of ``paired.table_over_seeds``; ``target_epsilon`` is infinity without privacy and
        NaN for the public-only model. ``p`` says nothing, as no AUROC is expected to be 0.
    """
    cells = scored.of_grids(*grids).dropna(subset="run_id")
    return contrasts_of_study(
        cells, CONDITION, lambda cell: scored.sum_of_aurocs({cell["run_id"]: 1.0}, cell["dataset"])
    )
