"""Metrics and claims as they may leave a hospital: without counts that can point at people, and rounded."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dpcxr_core.evaluation.groups import MIN_COUNT
from dpcxr_core.evaluation.small_counts import TELLS_A_COUNT, hidden_by_row, showable_metrics
from dpcxr_core.study.claim_contrasts import BY_GROUP, REGIME
from dpcxr_core.tables import METRICS

DECIMALS = 3  # a rate with all its digits is a fraction, and tells the count below it
_NUMBERS = ["value", "low", "high", "noise_floor"]


def shareable_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    """``showable_metrics``, with counts as ``hidden_counts`` lets them be seen, and values to a thousandth.

    Args:
        metrics: METRICS of runs that are all tested on the same images.

    Returns:
        The METRICS columns; ``n`` and ``n_positive`` are Int64, missing where not shown, and never from 1 to 9. What
        rests on fewer than 10 images or positives is NaN, and so is what tells positives that are not shown.
    """
    table, hidden = showable_metrics(metrics), hidden_by_row(metrics)
    table[_NUMBERS] = table[_NUMBERS].round(DECIMALS) + 0.0  # -0.0 becomes 0.0
    table["n"] = table["n"].astype("Int64").mask(hidden["images"])
    table["n_positive"] = table["n_positive"].astype("Int64").mask(hidden["positives"])
    return table[list(METRICS.columns)]


def shareable_claims(claims: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """``claims`` as ``study.verdicts.claims_table``, with what was measured to a thousandth; verdicts and p stay.

    No group of fewer than 10 patients is compared in a gap, and the p of a difference does not tell its digits. What
    compares gaps that are withheld anywhere in ``metrics`` is withheld, too: it is an equation in the same counts.

    Args:
        claims: Claims.
        metrics: From ``shareable_metrics``, of the same runs.
    """
    measured = claims.select_dtypes(float).columns.difference([*REGIME, "p", "p_adjusted"])
    shown = claims.assign(**(claims[measured].round(DECIMALS) + 0.0))
    withheld = set(metrics.loc[metrics["reason"] == TELLS_A_COUNT, "metric"])
    told = shown["part"].str.partition(BY_GROUP)[0].isin(withheld)
    shown.loc[told, measured] = np.nan
    shown.loc[told, "reason"] = TELLS_A_COUNT
    return shown


def small_counts_in(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``table`` with a count of images, positives or negatives from 1 to 9."""
    counts = table[["n", "n_positive"]].assign(n_negative=table["n"] - table["n_positive"])
    return table[(counts.gt(0) & counts.lt(MIN_COUNT)).any(axis=1)]


def more_digits_in(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``table`` with a number that has more digits than ``shareable_metrics`` leaves it."""
    numbers = table[_NUMBERS]
    # rounding again may move the last bits of a huge number, which tells nothing
    return table[((numbers - numbers.round(DECIMALS)).abs() > 2 * np.spacing(numbers.abs())).any(axis=1)]
