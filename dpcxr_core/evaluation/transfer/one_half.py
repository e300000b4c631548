"""Which of many AUROCs lie above or below one half, where chance is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dpcxr_core.evaluation.comparing.multiplicity import holm
from dpcxr_core.evaluation.comparing.paired import LEVEL
from dpcxr_core.evaluation.transfer.interval_table import DrawsOverSeeds, interval_table

CHANCE = 0.5
_MOVED = ["value", "low", "high", "low_with_seeds", "high_with_seeds"]


def beside_one_half(aurocs: DrawsOverSeeds, names: Sequence[str]) -> pd.DataFrame:
    """Each AUROC with its interval and whether it is above or below one half, all of ``aurocs`` being one family.

    The test is that of ``paired.over_seeds_of_draws``, two-sided. Holm's correction keeps the chance of any wrong
    "above" or "below" among all of them at 5% or less.

    Args:
        aurocs: ``(n_seeds, 1 + n_resamples)`` by key; column 0 is the AUROC on the data. NaN where undefined.
        names: What to call the parts of a key.

    Returns:
        ``interval_table``, ``p_adjusted`` and ``verdict``: "above", "below", "not distinguishable", or "undefined",
        which does not count as a test. The intervals are single 95% intervals, not corrected.
    """
    table = interval_table({key: np.asarray(each) - CHANCE for key, each in aurocs.items()}, names)
    table[_MOVED] += CHANCE
    table["p_adjusted"] = holm(table["p"])
    sides = np.where(table["value"] > CHANCE, "above", "below")
    # "not above the level" rather than "at or below": resamples that all agree leave no p, and no doubt
    table["verdict"] = np.where(~(table["p_adjusted"] > LEVEL), sides, "not distinguishable")
    table.loc[table["value"].isna(), "verdict"] = "undefined"
    return table
