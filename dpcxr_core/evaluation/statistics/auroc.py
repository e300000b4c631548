"""The area under the ROC curve, for one set of images or for many resamples of it at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.config import UserError

# 128 Ki weights at a time: a chunk's float64 work arrays stay near the CPU's cache, whatever n_resamples is.
_CHUNK_ENTRIES = 2**17


def auroc(y_true: ArrayLike, y_score: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Chance that a random positive image scores above a random negative one, ties counting half.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN; images without a reference label (NaN) are left out.
        y_score: ``(n_images,)``, finite. Only their order matters.
        weights: ``(n_images,)``, not negative; how often each image counts. Once each by default.

    Returns:
        A value in [0, 1]; NaN when the positives or the negatives have no weight at all.

    Raises:
        UserError: Lengths differ, ``y_true`` holds another value, or a labelled image has no finite score.

    Source:
        Hanley and McNeil (1982), Radiology 143(1), "The meaning and use of the area under a ROC curve".

    Example:
        >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
        0.875
    """
    once_each = np.ones(np.shape(y_true))
    row = np.asarray(once_each if weights is None else weights)[np.newaxis]
    return float(weighted_aurocs(y_true, y_score, row)[0])


def weighted_aurocs(y_true: ArrayLike, y_score: ArrayLike, weights: NDArray) -> NDArray[np.float64]:
    """AUROC of every row of ``weights``: scores are sorted once, then each resample is a cumulative sum.

    Promise:
        Row r is exactly the AUROC of a data set that holds image i ``weights[r, i]`` times, for whole
        weights whose pairs number below 2**52. Memory beyond the result does not grow with ``n_resamples``.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN; NaN is left out.
        y_score: ``(n_images,)``, finite where labelled.
        weights: ``(n_resamples, n_images)``, not negative.

    Returns:
        ``(n_resamples,)`` float64 in [0, 1]; NaN where a resample lacks positives or negatives.

    Raises:
        UserError: As for ``auroc``.
    """
    y_true, y_score = np.asarray(y_true, dtype=float), np.asarray(y_score, dtype=float)
    _check_inputs(y_true, y_score, weights)
    positives, negatives = np.flatnonzero(y_true == 1), np.flatnonzero(y_true == 0)
    aurocs = np.full(len(weights), np.nan)
    if not (positives.size and negatives.size):
        return aurocs

    negatives = negatives[np.argsort(y_score[negatives])]
    n_below = np.searchsorted(y_score[negatives], y_score[positives], side="left")
    n_not_above = np.searchsorted(y_score[negatives], y_score[positives], side="right")
    n_rows = max(1, _CHUNK_ENTRIES // y_true.size)
    for start in range(0, len(weights), n_rows):
        chunk = weights[start : start + n_rows]
        positive_weights = chunk[:, positives].astype(float)
        negatives_up_to = np.zeros((len(chunk), negatives.size + 1))
        np.cumsum(chunk[:, negatives], axis=1, dtype=float, out=negatives_up_to[:, 1:])
        # below + not above = 2 x below + 1 x tied: twice the wins, ties half
        twice_wins = np.einsum(
            "rp,rp->r", positive_weights, negatives_up_to[:, n_below] + negatives_up_to[:, n_not_above]
        )
        twice_pairs = 2 * positive_weights.sum(axis=1) * negatives_up_to[:, -1]
        np.divide(twice_wins, twice_pairs, out=aurocs[start : start + n_rows], where=twice_pairs > 0)
    return aurocs


def _check_inputs(y_true: NDArray, y_score: NDArray, weights: NDArray) -> None:
    if y_true.ndim != 1 or y_score.shape != y_true.shape or weights.shape[1:] != y_true.shape:
        raise UserError(
            "y_true, y_score and each row of weights must describe the same images; "
            f"got shapes {y_true.shape}, {y_score.shape} and {weights.shape}"
        )
    labelled = ~np.isnan(y_true)
    others = y_true[labelled & (y_true != 0) & (y_true != 1)]
    if others.size:
        raise UserError(f"y_true must be 1, 0 or NaN; found {others[0]}. Map uncertain labels first.")
    if not np.isfinite(y_score[labelled]).all():
        raise UserError("y_score must be finite for every labelled image; found NaN or infinity")
