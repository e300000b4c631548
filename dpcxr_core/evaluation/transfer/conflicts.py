"""Cells of a train-here, test-there matrix in which a finding ranks the wrong way round."""

from __future__ import annotations

import pandas as pd

from dpcxr_core.evaluation.transfer.interval_table import DrawsOverSeeds
from dpcxr_core.evaluation.transfer.one_half import beside_one_half

LIKELY_CONFLICT = "likely label conflict"
NOT_TOLD_FROM_CHANCE = "not distinguishable from chance"
CELL = ("train_dataset", "dataset", "finding")
_NOTES = {"above": "", "below": LIKELY_CONFLICT, "not distinguishable": NOT_TOLD_FROM_CHANCE, "undefined": "undefined"}


def label_conflicts(aurocs: DrawsOverSeeds) -> pd.DataFrame:
    """Every cell with its AUROC, and a note where it is below chance or cannot be told from it.

    A model that learnt anything ranks at chance or above wherever the finding means the same. Ranking below chance, by
    more than resampling, seeds and the number of cells explain, says that the two hospitals most likely use one word
    for two things; a macro mean over findings would hide it.

    Args:
        aurocs: ``(n_seeds, 1 + n_resamples)`` by (trained on, tested on, finding).

    Returns:
        ``train_dataset dataset finding``, the columns of ``beside_one_half`` and ``note``.
    """
    table = beside_one_half(aurocs, CELL)
    return table.assign(note=table["verdict"].map(_NOTES))
