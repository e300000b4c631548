"""The area under the precision-recall curve, for many resamples of a set of images at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.evaluation.statistics.ranking import Ranking, rankings
from dpcxr_core.evaluation.statistics.ratio import ratio


def weighted_average_precisions(
    y_true: ArrayLike, y_score: ArrayLike, weights: NDArray, unit_of_image: NDArray | None = None
) -> NDArray[np.float64]:
    """Average precision of every row of ``weights``: the mean precision met at the positives, highest score first.

    Promise:
        Row r is scikit-learn's ``average_precision_score`` of a data set that holds image i ``weights[r, i]``
        times: a step curve, not interpolated, and images of equal score enter together. A random ranking
        reaches about the prevalence, so values of groups or data sets with other prevalence do not compare.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN; images without a reference label (NaN) are left out.
        y_score: ``(n_images,)``, finite where labelled. Only their order matters.
        weights: ``(n_rows, n_units)``, not negative.
        unit_of_image: ``(n_images,)``, the column of weights that counts an image, as in ``weighted_aurocs``.

    Returns:
        ``(n_rows,)`` float64 in (0, 1]; NaN where positives or negatives have no weight, as for AUROC.

    Raises:
        UserError: As for ``auroc``.

    Source:
        Davis and Goadrich (2006), ICML, "The relationship between precision-recall and ROC curves", on why the
        curve must not be interpolated.

    Example:
        >>> weighted_average_precisions([1, 0, 1], [0.9, 0.4, 0.1], np.ones((1, 3))).round(4).tolist()
        [0.8333]
    """
    ranked = rankings(y_true, y_score, weights, unit_of_image)
    return np.concatenate([average_precisions_of(ranking) for ranking in ranked])


def average_precisions_of(ranking: Ranking) -> NDArray[np.float64]:
    """``(n_rows,)``: average precision of every row of a ranking."""
    true_positives = np.cumsum(ranking.positives, axis=1)
    n_predicted = true_positives + ranking.negatives
    # nothing predicted yet: no positive enters either, so that the precision there counts for nothing
    precisions = np.divide(true_positives, n_predicted, out=np.zeros_like(n_predicted), where=n_predicted > 0)
    gained = np.einsum("rm,rm->r", ranking.positives, precisions)
    return ratio(gained, np.where(ranking.n_negatives > 0, ranking.positives.sum(axis=1), 0))
