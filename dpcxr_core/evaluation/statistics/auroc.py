"""The area under the ROC curve, for one set of images or for many resamples of it at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.evaluation.statistics.ranking import Ranking, rankings
from dpcxr_core.evaluation.statistics.ratio import ratio


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


def weighted_aurocs(
    y_true: ArrayLike, y_score: ArrayLike, weights: NDArray, unit_of_image: NDArray | None = None
) -> NDArray[np.float64]:
    """AUROC of every row of ``weights``.

    Promise:
        Row r is exactly the AUROC of a data set that holds image i as often as row r says, for whole
        weights whose pairs number below 2**52. Memory beyond the result does not grow with ``n_rows``.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN; NaN is left out.
        y_score: ``(n_images,)``, finite where labelled.
        weights: ``(n_rows, n_units)``, not negative.
        unit_of_image: ``(n_images,)``, the column of weights that counts an image, such as its patient's; without
            it, every image has a column of its own.

    Returns:
        ``(n_rows,)`` float64 in [0, 1]; NaN where a row lacks positives or negatives.

    Raises:
        UserError: As for ``auroc``.
    """
    return np.concatenate([aurocs_of(ranking) for ranking in rankings(y_true, y_score, weights, unit_of_image)])


def aurocs_of(ranking: Ranking) -> NDArray[np.float64]:
    """``(n_rows,)``: AUROC of every row of a ranking."""
    pairs = ranking.positives.sum(axis=1) * ranking.n_negatives
    lost_or_tied = np.einsum("rm,rm->r", ranking.positives, ranking.negatives)
    twice_wins = 2 * (pairs - lost_or_tied) + ranking.tied_pairs
    return ratio(twice_wins, 2 * pairs)
