"""Contrasts of a study over its seeds, which vary alike only within a data set and at one kind of run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.multiplicity import holm, with_adjusted_p
from dpcxr_core.evaluation.comparing.paired import contrasts_over_seeds, verdict

Measured = Callable[[dict[Any, Any]], NDArray[np.float64]]


def contrasts_with_verdicts(pairs: pd.DataFrame, by: Sequence[str], contrast: Measured, family: str) -> pd.DataFrame:
    """``contrasts_of_study`` as one ``family`` of tests.

    Args:
        pairs: As there.
        by: As there.
        contrast: As there.
        family: What to call it.

    Returns:
        As there, with ``family p_adjusted n_in_family`` (Holm) and ``verdict``: "better" where the contrast is above 0,
        "worse" where it is below, and "not distinguishable" where ``p_adjusted`` is above 0.05.
    """
    table = with_adjusted_p(contrasts_of_study(pairs, by, contrast), family, holm)
    return table.assign(verdict=[*map(verdict, table["value"], table["p_adjusted"])])


def contrasts_of_study(pairs: pd.DataFrame, by: Sequence[str], contrast: Measured) -> pd.DataFrame:
    """``paired.contrasts_over_seeds``, with the variance between seeds pooled by data set and kind of run.

    Noise makes private runs vary more than ordinary ones, and a small test set varies more than a large one: one
    variance for all would give the former too small a p. Where a data set and kind has one row alone, its few seeds say
    little of how much they vary, and its p can still be too small.

    Args:
        pairs: With ``dataset`` and ``target_epsilon``: infinite without privacy, NaN for the public-only model.
        by: As there, ``dataset`` and ``target_epsilon`` among them.
        contrast: As there.

    Returns:
        As there, in the order in which comparisons occur. Where no row of a data set and kind has a second seed, what
        counts the seeds is NaN.
    """
    pairs = pairs.reset_index(drop=True)
    epsilon = pairs["target_epsilon"].astype(float)
    strata = pairs.groupby([pairs["dataset"], np.isfinite(epsilon), np.isnan(epsilon)], sort=False)
    tables = [
        contrasts_over_seeds(rows, by, contrast).set_index(rows.drop_duplicates(list(by)).index) for _, rows in strata
    ]
    if not tables:
        return contrasts_over_seeds(pairs, by, contrast)
    return pd.concat(tables).sort_index(ignore_index=True)
