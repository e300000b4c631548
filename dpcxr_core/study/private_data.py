"""Whether training on private images helped at all, and whether a head that knows the findings should be kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.study.macro_aurocs import CONDITION
from dpcxr_core.study.over_seeds import contrasts_with_verdicts
from dpcxr_core.study.scored_cells import ScoredCells

GRIDS = ("main", "scale")
_SAME_TEST = ["dataset", "architecture"]
_WITHOUT_HEAD = [name for name in CONDITION if name != "head"]


def against_public_only(scored: ScoredCells) -> pd.DataFrame:
    """Macro AUROC at home of every condition trained on private images minus that of each public-only model.

    A public-only model has the weights and the head of its initialisation and no seeds: it is one given model.

    Args:
        scored: Cells of the study; those of the grids "main" and "scale" count.

    Returns:
        ``public_only`` (its initialisation), ``CONDITION``, the columns of ``paired.table_over_seeds``, ``family
        p_adjusted n_in_family`` (Holm) and ``verdict``: "better" or "worse" than the public-only model where
        ``p_adjusted`` is at most 0.05. What did not run has no row.
    """
    cells = _that_ran(scored)
    is_public_only = cells["target_epsilon"].isna()
    given = cells.loc[is_public_only, [*_SAME_TEST, "initialisation", "run_id"]]
    given = given.rename(columns={"initialisation": "public_only", "run_id": "subtracted"})
    pairs = cells[~is_public_only].merge(given, on=_SAME_TEST)
    return _tested(scored, pairs, ["public_only", *CONDITION], "against the public-only model")


def kept_minus_reset(scored: ScoredCells) -> pd.DataFrame:
    """Macro AUROC at home of training that kept the head of its weights minus that of training with a new head.

    Returns:
        As ``against_public_only``, without ``public_only`` and ``head``: a row for every condition that ran both ways.
    """
    cells = _that_ran(scored).dropna(subset="target_epsilon")
    same = [*_WITHOUT_HEAD, "seed"]
    reset = cells.loc[cells["head"] == "reset", [*same, "run_id"]].rename(columns={"run_id": "subtracted"})
    pairs = cells[cells["head"] == "kept"].merge(reset, on=same)
    return _tested(scored, pairs, _WITHOUT_HEAD, "head kept or new")


def _that_ran(scored: ScoredCells) -> pd.DataFrame:
    return scored.of_grids(*GRIDS).dropna(subset="run_id")


def _tested(scored: ScoredCells, pairs: pd.DataFrame, by: list[str], family: str) -> pd.DataFrame:
    def difference(pair: dict[Any, Any]) -> NDArray[np.float64]:
        return scored.sum_of_aurocs({pair["run_id"]: 1.0, pair["subtracted"]: -1.0}, pair["dataset"])

    return contrasts_with_verdicts(pairs, by, difference, family)
