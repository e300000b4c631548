"""The area under the precision-recall curve, for many resamples of a set of images at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.evaluation.statistics.ranking import Ranking
from dpcxr_core.evaluation.statistics.ratio import ratio


def average_precisions_of(ranking: Ranking) -> NDArray[np.float64]:
    """Average precision of every row of a ranking: the mean precision met at the positives, highest score first.

    Promise:
        Row r is scikit-learn's ``average_precision_score`` of a data set that holds each image as often as row r of
        the ranking's weights says: a step curve, not interpolated, and images of equal score enter together. A random
        ranking reaches about the prevalence, so values of groups or data sets with other prevalence do not compare.

    Returns:
        ``(n_rows,)`` in (0, 1]; NaN where positives or negatives have no weight, as for AUROC.

    Source:
        Davis and Goadrich (2006), ICML, "The relationship between precision-recall and ROC curves", on why the
        curve must not be interpolated.
    """
    true_positives = np.cumsum(ranking.positives, axis=1)
    n_predicted = true_positives + ranking.negatives
    # nothing predicted yet: no positive enters either, so that the precision there counts for nothing
    precisions = np.divide(true_positives, n_predicted, out=np.zeros_like(n_predicted), where=n_predicted > 0)
    gained = np.einsum("rm,rm->r", ranking.positives, precisions)
    return ratio(gained, np.where(ranking.n_negatives > 0, ranking.positives.sum(axis=1), 0))
