"""Cells of a train-here, test-there matrix in which a finding ranks the wrong way round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.evaluation.transfer.interval_table import DrawsOverSeeds
from dpcxr_core.evaluation.transfer.one_half import beside_one_half

LIKELY_CONFLICT = "ranks the wrong way: read the labels"
BELOW_ONE_HALF = "below one half"
NOT_TOLD_FROM_CHANCE = "not distinguishable from chance"
CELL = ("train_dataset", "dataset", "finding")
_NOTES = {"above": "", "below": BELOW_ONE_HALF, "not distinguishable": NOT_TOLD_FROM_CHANCE, "undefined": "undefined"}


def label_conflicts(aurocs: DrawsOverSeeds, n_patients: Mapping[Any, int]) -> pd.DataFrame:
    """Every cell with its AUROC, and a note where it is below chance or cannot be told from it.

    A model that ranks a finding above chance at home and below it abroad, by more than resampling, the number of cells
    and, where there are several, seeds explain, found something there that runs against the label: a word used for two
    things is one cause, so that labels are to be read. A macro mean over findings would hide it. A model that learnt
    nothing at home says nothing about the labels abroad.

    Args:
        aurocs: ``(n_seeds, 1 + n_resamples)`` by (trained on, tested on, finding).
        n_patients: As ``beside_one_half`` takes them.

    Returns:
        ``train_dataset dataset finding``, the columns of ``beside_one_half`` and ``note``.
    """
    table = beside_one_half(aurocs, CELL, n_patients)
    verdicts = table.set_index(list(CELL))["verdict"]
    learnt = [verdicts.get((hospital, hospital, finding)) == "above" for hospital, _, finding in verdicts.index]
    note = table["verdict"].map(_NOTES)
    return table.assign(note=note.mask((note == BELOW_ONE_HALF) & np.array(learnt, dtype=bool), LIKELY_CONFLICT))
