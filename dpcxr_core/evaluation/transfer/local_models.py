"""A model from elsewhere beside the model trained on the spot, on the same test images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.comparing.multiplicity import holm, with_adjusted_p
from dpcxr_core.evaluation.comparing.paired import contrasts_over_seeds, difference_of_draws
from dpcxr_core.evaluation.transfer.drop import DrawsByRun

_PAIR = ["train_dataset", "dataset"]


def behind_local_models(draws: DrawsByRun, runs: pd.DataFrame) -> pd.DataFrame:
    """Macro AUROC of the model trained where it is tested, minus that of each model from elsewhere.

    An external drop mixes what a model cannot do abroad with how hard the images abroad are. Here both models score
    the same images, and only what the hospital trained on adds is left. Holm's correction is over the rows.

    Args:
        draws: By run and data set.
        runs: Runs table: ``run_id train_dataset seed``; runs that differ in their data set and seed alone.

    Returns:
        ``train_dataset dataset``, the columns of ``paired.table_over_seeds`` and ``family p_adjusted n_in_family``;
        paired by seed. No row for a hospital that trained no model.
    """
    named = runs[["run_id", "train_dataset", "seed"]]
    local = named.rename(columns={"train_dataset": "dataset", "run_id": "run_id_local"})
    pairs = named.merge(local, on="seed").query("train_dataset != dataset")
    tested = [dataset in draws[run_id] for dataset, run_id in zip(pairs["dataset"], pairs["run_id"], strict=True)]

    def behind(pair: dict[str, Any]) -> NDArray[np.float64]:
        there, ours = (draws[pair[name]][pair["dataset"]] for name in ("run_id_local", "run_id"))
        return difference_of_draws(there, ours, "auroc", MACRO, "all", "all")

    table = contrasts_over_seeds(pairs.loc[np.array(tested, dtype=bool)], _PAIR, behind)
    return with_adjusted_p(table, "behind local models", holm)
