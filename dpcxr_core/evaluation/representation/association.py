"""Do measures of a representation rank models as their AUROC does?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from scipy import stats

_FEWEST = 4  # of three ranks, every sixth order is perfect by chance


def rank_associations(models: pd.DataFrame, outcome: str, measures: Sequence[str], by: str) -> pd.DataFrame:
    """Spearman's rank correlation of ``outcome`` with each of ``measures``: over all models, then within each ``by``.

    No p-value: models that share an initialisation, training images and test images are not independent, so that
    any would be too small. Over all models a correlation can come from differences between the groups alone.

    Args:
        models: One row a model, with the columns ``outcome``, ``measures`` and ``by``.
        outcome: Column of AUROCs.
        measures: Columns to compare it with.
        by: Column whose values are also looked at one at a time.

    Returns:
        ``group measure rho n reason``; rho is NaN, and the reason says why, for fewer than four models or where all
        have one value.
    """
    groups = [("all", models), *models.groupby(by, sort=False)]
    rows = [
        {"group": group, "measure": measure, **_rank_correlation(of_group[[outcome, measure]].dropna())}
        for group, of_group in groups
        for measure in measures
    ]
    return pd.DataFrame(rows, columns=["group", "measure", "rho", "n", "reason"])


def _rank_correlation(pairs: pd.DataFrame) -> dict[str, object]:
    if len(pairs) < _FEWEST:
        return {"rho": float("nan"), "n": len(pairs), "reason": f"fewer than {_FEWEST} models"}
    if (pairs.nunique() == 1).any():
        return {"rho": float("nan"), "n": len(pairs), "reason": "one value in all models"}
    return {"rho": float(stats.spearmanr(*pairs.to_numpy().T).statistic), "n": len(pairs), "reason": ""}
