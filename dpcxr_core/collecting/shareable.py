"""Metrics and claims as they may leave a hospital: without counts that can point at people, and rounded."""

from __future__ import annotations

import pandas as pd

from dpcxr_core.evaluation.groups import MIN_COUNT
from dpcxr_core.evaluation.small_counts import hidden_by_row, showable_metrics
from dpcxr_core.study.claim_contrasts import REGIME
from dpcxr_core.tables import METRICS

DECIMALS = 3  # a rate with all its digits is a fraction, and tells the count below it


def shareable_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    """``showable_metrics``, with counts as ``hidden_counts`` lets them be seen, and values to a thousandth.

    Args:
        metrics: METRICS of runs that are all tested on the same images.

    Returns:
        The METRICS columns; ``n`` and ``n_positive`` are Int64, missing where not shown, and never from 1 to 9. What
        rests on fewer than 10 images or positives is NaN, and so is what tells positives that are not shown.
    """
    table, hidden = showable_metrics(metrics), hidden_by_row(metrics)
    numbers = ["value", "low", "high", "noise_floor"]
    table[numbers] = table[numbers].round(DECIMALS) + 0.0  # -0.0 becomes 0.0
    table["n"] = table["n"].astype("Int64").mask(hidden["images"])
    table["n_positive"] = table["n_positive"].astype("Int64").mask(hidden["positives"])
    return table[list(METRICS.columns)]


def shareable_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """``claims`` as ``study.verdicts.claims_table``, with what was measured to a thousandth; verdicts stay.

    No group of fewer than 10 patients is compared in a gap, and the p of a difference does not tell its digits.
    """
    measured = claims.select_dtypes(float).columns.difference([*REGIME, "p", "p_adjusted"])
    return claims.assign(**(claims[measured].round(DECIMALS) + 0.0))


def small_counts_in(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``table`` with a count of images or positives from 1 to 9."""
    return table[(table[["n", "n_positive"]].gt(0) & table[["n", "n_positive"]].lt(MIN_COUNT)).any(axis=1)]
