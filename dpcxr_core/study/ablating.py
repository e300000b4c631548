"""Each ablation of a study against the main cells that it changes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dpcxr_core.study.over_seeds import contrasts_of_study, contrasts_with_verdicts
from dpcxr_core.study.scored_cells import ScoredCells

_SAME = ["dataset", "initialisation", "head", "target_epsilon", "seed"]
_NO_SETTINGS = {*_SAME, "cell", "grids", "kind", "run_id", "state"}
_BY = ["ablation", "differs_in", "dataset", "initialisation", "architecture", "unit", "fraction", "target_epsilon"]
_Row = dict[Any, Any]


def ablations_table(scored: ScoredCells) -> pd.DataFrame:
    """Macro AUROC at home of each ablation's cells minus that of the main cell that differs from it the least.

    That is a main cell of the same data set, initialisation, head, target epsilon and seed. Where ``differs_in`` names
    one setting, the difference is what that setting does; where it names several, it is what they do together.

    Args:
        scored: Cells of all grids. Every column counts as a setting, but for ``cell grids kind run_id state`` and
            those that have to be the same.

    Returns:
        ``ablation differs_in dataset initialisation architecture unit fraction target_epsilon`` (of the ablation's
        cell), the columns of ``paired.table_over_seeds``, ``family p_adjusted n_in_family`` (Holm, over the rows) and
        ``verdict``: "better" or "worse" than the main cell where ``p_adjusted`` is at most 0.05. What has no main cell
        is in ``without_main_cell``; where one of the two did not run, there is no row.
    """
    pairs = _pairs(scored.cells).dropna(subset=["run_id", "main_run_id"])

    def difference(pair: _Row) -> Any:
        return scored.sum_of_aurocs({pair["run_id"]: 1.0, pair["main_run_id"]: -1.0}, pair["dataset"])

    return contrasts_with_verdicts(pairs, _BY, difference, "ablations")


def without_main_cell(scored: ScoredCells) -> pd.DataFrame:
    """Macro AUROC at home of ablations that the main grid has no cell for, as at an epsilon of their own.

    Returns:
        As ``ablations_table``, without ``differs_in`` and what comes of tests: there is nothing to subtract.
    """
    pairs = _pairs(scored.cells).dropna(subset=["run_id", "target_epsilon"])
    alone = pairs[pairs["differs_in"].isna()]
    by = [name for name in _BY if name != "differs_in"]
    return contrasts_of_study(alone, by, lambda cell: scored.sum_of_aurocs({cell["run_id"]: 1.0}, cell["dataset"]))


def _pairs(cells: pd.DataFrame) -> pd.DataFrame:
    """Each cell of an ablation that is not of the main grid, beside its main cell; None where there is no such cell."""
    grids = cells["grids"].str.split(", ")
    in_main = grids.map(lambda names: "main" in names)
    settings = [str(name) for name in cells if name not in _NO_SETTINGS]
    candidates = {key: group.to_dict("records") for key, group in cells[in_main].groupby(_SAME, sort=False)}
    rows = []
    for cell, names in zip(cells[~in_main].to_dict("records"), grids[~in_main], strict=True):
        against = [
            (_changed(cell, main, settings), main) for main in candidates.get(tuple(cell[name] for name in _SAME), ())
        ]
        new: _Row = {"differs_in": None, "main_run_id": None}
        if against:
            changed, main = min(against, key=lambda each: len(each[0]))
            new = {"differs_in": ", ".join(changed), "main_run_id": main["run_id"]}
        rows += [cell | new | {"ablation": name} for name in names]
    return pd.DataFrame(rows, columns=[*_BY, "seed", "run_id", "main_run_id"])


def _changed(cell: _Row, main: _Row, settings: list[str]) -> list[str]:
    """Settings in which two cells differ; two that say nothing agree."""
    return [name for name in settings if cell[name] != main[name] and not (pd.isna(cell[name]) and pd.isna(main[name]))]
