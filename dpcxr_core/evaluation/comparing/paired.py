"""Runs against each other on the same resamples of patients, and over training seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.grouped import joined
from dpcxr_core.evaluation.draws import Draws
from dpcxr_core.evaluation.resampling.intervals import COVERAGE, defined_resamples, percentile_interval

Verdict = Literal["better", "worse", "not distinguishable"]
LEVEL = 1 - COVERAGE
CONTRAST_COLUMNS = (
    *("value", "low", "high", "seed_sd", "n_seeds", "se_sampling", "se_seeds"),
    *("low_with_seeds", "high_with_seeds", "p", "reason"),
)


def difference_of_draws(a: Draws, b: Draws, metric: str, finding: str, column: str, value: str) -> NDArray[np.float64]:
    """``(1 + n_resamples,)`` of run a minus run b in one metric, finding and group; row 0 is the data.

    Both runs meet the same resamples of the same patients, so what makes an image hard for both cancels. A sum of
    such arrays, with any signs, is the draws of that sum: every linear contrast of runs is made of them.

    Raises:
        UserError: The runs were scored on different data sets or resampled differently; or there is no such
            metric, finding or group.
    """
    ours, theirs = (run.of(metric, finding, column, value) for run in (a, b))
    if a.dataset != b.dataset or ours.shape != theirs.shape:
        raise UserError(
            f"runs {a.run_id!r} and {b.run_id!r} cannot be paired: {len(ours) - 1} resamples of {a.dataset!r} against "
            f"{len(theirs) - 1} of {b.dataset!r}. Evaluate both with the same choice on the same data set."
        )
    return ours.astype(float) - theirs


def over_seeds_of_draws(by_seed: ArrayLike) -> dict[str, Any]:
    """A contrast over training seeds: what other test patients would change, and what other seeds would.

    All seeds share their test patients, so averaging seeds narrows only what the seeds add. The two errors stay
    apart, and ``p`` counts both: Welch's t with the error of the patients, taken as known, and that of the seeds.
    It errs on the side of large p where patients and seeds interact, as the seeds' spread holds that too. With two
    seeds that lie further apart than the patients' error, a p of 0.05 is really one of up to 0.12; with five, 0.06.

    Args:
        by_seed: ``(n_seeds, 1 + n_resamples)``; a seed's contrast on the data and on each resample. The seeds
            share the resamples.

    Returns:
        ``value`` (mean over seeds), ``low high`` (95% interval of that mean over other test patients), ``seed_sd``
        (standard deviation between seeds), ``n_seeds``, ``se_sampling se_seeds`` (standard errors of the mean, from
        patients and from seeds), ``low_with_seeds high_with_seeds`` (95% interval over other patients and other
        seeds), ``p`` (two-sided, against 0) and ``reason``. One seed shows no spread: what counts the seeds is NaN
        then, and ``p`` is of the patients alone. All is NaN where the contrast is undefined for any seed.

    Source:
        Satterthwaite (1946), Biometrics Bulletin 2(6), for the degrees of freedom.
    """
    by_seed = np.asarray(by_seed, dtype=float)
    undefined = np.isnan(by_seed[:, 0])
    mean, n_seeds = np.where(undefined.any(), math.nan, by_seed.mean(axis=0)), len(by_seed)
    low, high, note = percentile_interval(mean[1:])
    resampled, _ = defined_resamples(mean[1:])
    se_sampling = float(resampled.std(ddof=1)) if resampled.size > 1 else math.nan
    seed_sd = float(by_seed[:, 0].std(ddof=1)) if n_seeds > 1 else math.nan
    se_seeds = seed_sd / math.sqrt(n_seeds)
    margin, p = _with_seeds(float(mean[0]), se_sampling, se_seeds, n_seeds)
    if undefined.any():
        reason = "undefined" if undefined.all() else "undefined for some seeds"
    else:
        reason = joined(note, "one seed" if n_seeds == 1 else "")
    return {
        "value": float(mean[0]),
        "low": low,
        "high": high,
        "seed_sd": seed_sd,
        "n_seeds": n_seeds,
        "se_sampling": se_sampling,
        "se_seeds": se_seeds,
        "low_with_seeds": float(mean[0]) - margin,
        "high_with_seeds": float(mean[0]) + margin,
        "p": p,
        "reason": reason,
    }


def contrasts_over_seeds(
    pairs: pd.DataFrame, by: Sequence[str], contrast: Callable[[dict[Any, Any]], NDArray[np.float64]]
) -> pd.DataFrame:
    """A row for every comparison, over its seeds.

    Args:
        pairs: A comparison and seed a row, such as which run stands against which.
        by: The columns that tell comparisons apart; missing values are a group of their own.
        contrast: The draws of one row of ``pairs``, ``(1 + n_resamples,)``.

    Returns:
        ``by`` and the columns of ``over_seeds_of_draws``, in the order in which comparisons occur.
    """
    rows = []
    for _, seeds in pairs.groupby(list(by), dropna=False, sort=False):
        same = seeds.iloc[0][list(by)].to_dict()
        rows.append(same | over_seeds_of_draws([contrast(pair) for pair in seeds.to_dict("records")]))
    return pd.DataFrame(rows, columns=[*by, *CONTRAST_COLUMNS])


def verdict(value: float, p: float) -> Verdict:
    """Whether a difference can be told from 0 at the 0.05 level, and in whose favour.

    Args:
        value: The difference; NaN where undefined.
        p: Its p-value, adjusted for the comparisons it is one of; NaN where undefined.

    Example:
        >>> verdict(0.012, 0.07)
        'not distinguishable'
    """
    if not p <= LEVEL:
        return "not distinguishable"
    return "better" if value > 0 else "worse"


def _with_seeds(value: float, se_sampling: float, se_seeds: float, n_seeds: int) -> tuple[float, float]:
    """Half the width of the interval that counts the seeds, NaN with one seed, and the two-sided p."""
    if n_seeds == 1 or se_seeds == 0:
        error, degrees = se_sampling, math.inf
    else:
        error = math.hypot(se_sampling, se_seeds)
        degrees = (n_seeds - 1) * (error / se_seeds) ** 4
    margin = error * float(t.ppf(1 - LEVEL / 2, degrees)) if n_seeds > 1 else math.nan
    if error == 0:  # the data are all that is known: equal on every resample, or apart by as much on every one
        return margin, 1.0 if value == 0 else math.nan
    return margin, float(2 * t.sf(abs(value) / error, degrees))
