"""Which of many AUROCs lie above or below one half, where chance is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.evaluation.comparing.multiplicity import holm
from dpcxr_core.evaluation.comparing.paired import LEVEL, table_over_seeds
from dpcxr_core.evaluation.transfer.interval_table import DrawsOverSeeds

CHANCE = 0.5
_MOVED = ["value", "low", "high", "low_with_seeds", "high_with_seeds"]


def beside_one_half(aurocs: DrawsOverSeeds, names: Sequence[str], n_patients: Mapping[Any, int]) -> pd.DataFrame:
    """Each AUROC with its interval and whether it is above or below one half, all of ``aurocs`` being one family.

    The test is that of ``paired.table_over_seeds``, two-sided, and Holm's correction over the cells is to keep the
    chance of any wrong "above" or "below" at 5%. The bootstrap's standard error of few patients is itself uncertain:
    hence t, with one degree of freedom less than the smaller class has patients. The normal's level would be many
    times the one meant, and the more so the further out in the tail many cells need it.

    Args:
        aurocs: ``(n_seeds, 1 + n_resamples)`` by key; column 0 is the AUROC on the data. NaN where undefined.
        names: What to call the parts of a key.
        n_patients: How many patients the class with fewer of them has, by the same keys.

    Returns:
        ``names``, the columns of ``paired.table_over_seeds``, ``p_adjusted`` and ``verdict``: "above", "below", "not
        distinguishable", or "undefined", which does not count as a test. The intervals are single 95% intervals, not
        corrected.
    """
    degrees = np.array([n_patients[key] - 1 for key in aurocs], dtype=float)
    contrasts = table_over_seeds([np.asarray(each) - CHANCE for each in aurocs.values()], degrees)
    table = pd.concat([pd.DataFrame(list(aurocs), columns=list(names)), contrasts], axis="columns")
    table[_MOVED] += CHANCE
    table["p_adjusted"] = holm(table["p"])
    sides = np.where(table["value"] > CHANCE, "above", "below")
    no_doubt = table["p"].isna() & (table["se_sampling"] == 0)  # resamples that all agree leave no p
    table["verdict"] = np.where((table["p_adjusted"] <= LEVEL) | no_doubt, sides, "not distinguishable")
    table.loc[table["value"].isna(), "verdict"] = "undefined"
    return table
