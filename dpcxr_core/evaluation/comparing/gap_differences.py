"""The largest gap between groups in one run against that in another, fairly where chance parts one's groups more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.gaps import GAPS, Combined, gap_and_scatter, mean_scatter
from dpcxr_core.evaluation.comparing.grouped import MACRO, compared_and_shared
from dpcxr_core.evaluation.draws import DRAWN_METRICS, Draws

_DRAWN = {name: made for name, made in GAPS.items() if {*made[0]} <= {*DRAWN_METRICS}}
GAPS_OF_DRAWS: Mapping[str, tuple[tuple[str, ...], Combined]] = {"auroc_range": (("auroc",), np.max), **_DRAWN}


def gap_of_draws(draws: Draws, metric: str, column: str) -> tuple[NDArray[np.float64], float]:
    """A gap between the groups of ``column``, and its noise floor.

    Both are those of the macro row of the METRICS table. ``auroc_range`` is the range over groups of macro means, every
    other gap the mean over findings of their gaps.

    Args:
        draws: Of one run on one data set.
        metric: One of ``GAPS_OF_DRAWS``.
        column: A group column.

    Returns:
        ``(1 + n_resamples,)``, row 0 is the data; and the gap to expect with no true difference. NaN where fewer than
        two groups can be measured.

    Raises:
        UserError: There is no such metric or column.
    """
    if metric not in GAPS_OF_DRAWS:
        raise UserError(f"the gap must be one of {', '.join(GAPS_OF_DRAWS)}; got {metric!r}")
    members = [place for place, (name, _) in enumerate(draws.groups) if name == column]
    if not members:
        columns = [*dict.fromkeys(name for name, _ in draws.groups)]
        raise UserError(f"the draws on {draws.dataset!r} have no groups of {column!r}; they have {columns}")
    names, combined = GAPS_OF_DRAWS[metric]
    rates = np.stack([draws.values[name][:, members] for name in names]).astype(float)
    single = np.array([finding != MACRO for finding in draws.findings])
    compared, shared = compared_and_shared(np.isfinite(rates[:, 0][..., single]).all(axis=0))
    wanted = ~single if metric == "auroc_range" else _placed(shared, single)
    if compared.sum() < 2 or not shared.any():
        return np.full(rates.shape[1], np.nan), np.nan
    by_finding = [rates[:, :, compared, finding] for finding in np.flatnonzero(wanted)]
    gaps = [combined(np.ptp(rate, axis=-1), axis=0) for rate in by_finding]
    scatters = [gap_and_scatter(rate, combined)[1] for rate in by_finding]
    return np.mean(gaps, axis=0), mean_scatter(np.mean(scatters, axis=0))


def gap_difference(a: Draws, b: Draws, metric: str, column: str) -> tuple[NDArray[np.float64], float]:
    """``(1 + n_resamples,)`` of the gap of run a minus that of run b, and the difference of their noise floors.

    Both runs meet the same resamples. Resampling widens every gap, so the resampled differences are moved to lie around
    that of the data: only how far they scatter is told by them.

    Args:
        a: Draws of one run.
        b: Draws of another on the same data set.
        metric: As ``gap_of_draws``.
        column: A group column.

    Raises:
        UserError: As ``gap_of_draws``.
    """
    (ours, our_floor), (theirs, their_floor) = (gap_of_draws(run, metric, column) for run in (a, b))
    difference = ours - theirs
    resampled = difference[1:]
    if np.isfinite(resampled).any():
        resampled += difference[0] - np.nanmean(resampled)
    return difference, our_floor - their_floor


def less_unequal_noise(differences: ArrayLike, floor_differences: ArrayLike) -> NDArray[np.float64]:
    """Differences of two gaps, less what their unequal noise may explain, which can be all of it.

    Chance adds its whole noise floor to a gap that is none, and next to nothing to a large one. So where two true gaps
    are equal, the difference on the data errs towards the noisier run, by at most the difference of the noise floors.
    As much of that as brings the mean difference nearer to 0 is taken off, so that what remains cannot be owed to it.

    Args:
        differences: ``(n_seeds, 1 + n_resamples)``, of ``gap_difference``.
        floor_differences: ``(n_seeds,)``, of ``gap_difference``.

    Returns:
        ``(n_seeds, 1 + n_resamples)``: ``differences``, all moved by the same amount.

    Source:
        Of this project: how often it calls a difference where there is none, ``test_gap_differences`` measures.
    """
    differences = np.asarray(differences, dtype=float)
    explained = np.asarray(floor_differences, dtype=float).mean()
    return differences - np.clip(differences[:, 0].mean(), min(0.0, explained), max(0.0, explained))


def _placed(shared: NDArray[np.bool_], single: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``shared``, of single findings, as an array over all findings."""
    wanted = np.zeros_like(single)
    wanted[single] = shared
    return wanted
