"""Runs against each other on the same resamples of patients, and over training seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
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


def table_over_seeds(contrasts: Sequence[ArrayLike], patients_degrees: ArrayLike = math.inf) -> pd.DataFrame:
    """Contrasts over training seeds, a row each: what other test patients would change, and what other seeds would.

    All seeds share their test patients, so averaging seeds narrows only what the seeds add. The two errors stay
    apart, and ``p`` counts both, in Welch's t. Two seeds say next to nothing of their own variance, and a p that trusts
    them is far too small where a correction for many tests needs it. So that variance is pooled over the rows.

    Assumes that all rows vary as much between seeds, and independently. A false alarm after Holm's correction is then
    as rare as stated, and far more frequent where each row goes by its own variance. It is more frequent than stated
    where rows share variance, as comparisons with one reference do, and where some rows vary more than the others:
    those get too small a p, and the steady ones too large a one.

    Args:
        contrasts: ``(n_seeds, 1 + n_resamples)`` each; a seed's contrast on the data and on each resample. The seeds
            of a row share the resamples. One family of tests: the rows of a table are tested together.
        patients_degrees: ``(n_contrasts,)`` or one for all: degrees of freedom of the patients' error. Infinite where
            it is taken as known.

    Returns:
        ``value`` (mean over seeds), ``low high`` (95% interval of that mean over other test patients), ``seed_sd``
        (standard deviation between the row's own seeds), ``n_seeds``, ``se_sampling se_seeds`` (standard errors of the
        mean, from patients and from seeds, pooled), ``low_with_seeds high_with_seeds`` (95% interval over other
        patients and other seeds), ``p`` (two-sided, against 0) and ``reason``. A row of one seed has the spread of the
        others; where no row has a second seed, what counts the seeds is NaN, and ``p`` is of the patients alone. All is
        NaN where the contrast is undefined for any seed of the row, which then has no part in the pooling.

    Source:
        Satterthwaite (1946), Biometrics Bulletin 2(6), for the degrees of freedom.
    """
    table = pd.DataFrame([_row(by_seed) for by_seed in contrasts], columns=CONTRAST_COLUMNS)
    value, se_sampling, seed_sd = (table[name].to_numpy(dtype=float) for name in ("value", "se_sampling", "seed_sd"))
    n_seeds = table["n_seeds"].to_numpy(dtype=float)
    se_seeds, seeds_degrees = _pooled(seed_sd, n_seeds)
    se_seeds = np.where(np.isnan(value), math.nan, se_seeds)
    error = np.hypot(se_sampling, np.nan_to_num(se_seeds))
    with np.errstate(divide="ignore", invalid="ignore"):  # no error at all, or none of the seeds
        shares = (se_sampling / error) ** 4 / patients_degrees, (se_seeds / error) ** 4 / seeds_degrees
        degrees = 1 / np.nansum(shares, axis=0)
        p = 2 * t.sf(np.abs(value) / error, degrees)
    margin = np.where(np.isnan(se_seeds), math.nan, error * t.ppf(1 - LEVEL / 2, degrees))
    # with no error the data are all that is known: equal on every resample, or apart by as much on every one
    certain = np.where(value == 0, 1.0, math.nan)
    return table.assign(
        se_seeds=se_seeds,
        low_with_seeds=value - margin,
        high_with_seeds=value + margin,
        p=np.where(error == 0, certain, p),
    )


def over_seeds_of_draws(by_seed: ArrayLike) -> dict[Hashable, Any]:
    """The only row of its ``table_over_seeds``: the variance between seeds is of these few seeds alone.

    With few seeds that matter its 95% interval misses the truth more often than in 5% of cases, as the variance is
    itself uncertain. Many such p-values are no family to correct: that takes ``table_over_seeds``.

    Args:
        by_seed: ``(n_seeds, 1 + n_resamples)``; column 0 is the data.
    """
    return table_over_seeds([by_seed]).to_dict("records")[0]


def contrasts_over_seeds(
    pairs: pd.DataFrame,
    by: Sequence[str],
    contrast: Callable[[dict[Any, Any]], NDArray[np.float64]],
    degrees: Callable[[dict[Any, Any]], float] = lambda _: math.inf,
) -> pd.DataFrame:
    """A row for every comparison, over its seeds; the variance between seeds is pooled over the rows.

    Args:
        pairs: A comparison and seed a row, such as which run stands against which.
        by: The columns that tell comparisons apart; missing values are a group of their own.
        contrast: The draws of one row of ``pairs``, ``(1 + n_resamples,)``.
        degrees: Of freedom, of its patients' error; a comparison has the fewest of its seeds.

    Returns:
        ``by`` and the columns of ``table_over_seeds``, in the order in which comparisons occur.
    """
    by = list(by)
    groups = [seeds for _, seeds in pairs.groupby(by, dropna=False, sort=False)]
    records = [seeds.to_dict("records") for seeds in groups]
    fewest = [min(map(degrees, seeds)) for seeds in records]
    found = table_over_seeds([[contrast(pair) for pair in seeds] for seeds in records], np.array(fewest))
    same = pd.DataFrame([seeds.iloc[0][by].to_dict() for seeds in groups], columns=by)
    return pd.concat([same, found], axis="columns")


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


def _row(by_seed: ArrayLike) -> dict[str, Any]:
    """What a contrast says without the other rows of its table."""
    by_seed = np.asarray(by_seed, dtype=float)
    undefined = np.isnan(by_seed[:, 0])
    mean, n_seeds = np.where(undefined.any(), math.nan, by_seed.mean(axis=0)), len(by_seed)
    low, high, note = percentile_interval(mean[1:])
    resampled, _ = defined_resamples(mean[1:])
    if undefined.any():
        reason = "undefined" if undefined.all() else "undefined for some seeds"
    else:
        reason = joined(note, "one seed" if n_seeds == 1 else "")
    return {
        "value": float(mean[0]),
        "low": low,
        "high": high,
        "seed_sd": float(by_seed[:, 0].std(ddof=1)) if n_seeds > 1 else math.nan,
        "n_seeds": n_seeds,
        "se_sampling": float(resampled.std(ddof=1)) if resampled.size > 1 else math.nan,
        "reason": reason,
    }


def _pooled(seed_sd: NDArray[np.float64], n_seeds: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Standard errors of the means over seeds, all from one variance, and its degrees of freedom; NaN without any."""
    degrees = np.where(np.isnan(seed_sd), 0, n_seeds - 1)
    if not degrees.any():
        return np.full(n_seeds.shape, math.nan), math.nan
    variance = (degrees * np.nan_to_num(seed_sd) ** 2).sum() / degrees.sum()
    return np.sqrt(variance / n_seeds), float(degrees.sum())
