"""Where the positives and negatives of many resamples lie along the scores: what AUROC and AUPRC are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.statistics.inputs import check_labels_and_scores

# Work arrays of a few MiB stay near the CPU's cache; below 16 rows at a time the sparse product loses its speed.
_CHUNK_ENTRIES = 2**18
_ROWS_AT_A_TIME = (16, 128)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Weights of some resamples at each distinct score of a positive, highest first; m of them.

    Attributes:
        positives: ``(n_rows, m)`` weight of the positives with that score.
        negatives: ``(n_rows, m)`` weight of the negatives with that score or a higher one.
        n_negatives: ``(n_rows,)`` weight of all negatives.
        tied_pairs: ``(n_rows,)`` weight of the pairs of a positive and a negative with equal scores.
    """

    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]
    n_negatives: NDArray[np.float64]
    tied_pairs: NDArray[np.float64]


def rankings(
    y_true: ArrayLike, y_score: ArrayLike, weights: NDArray, unit_of_image: NDArray | None = None
) -> Iterator[Ranking]:
    """The rankings of all rows of ``weights``, a chunk of rows at a time.

    Scores are sorted once. Then each resample is a sparse sum over units, and no array of images by resamples
    is ever made. Exact for whole weights whose pairs number below 2**52.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN; NaN is left out.
        y_score: ``(n_images,)``, finite where labelled.
        weights: ``(n_rows, n_units)``, not negative.
        unit_of_image: ``(n_images,)``, the column of weights that counts an image, such as its patient's; without
            it, every image has a column of its own.

    Raises:
        UserError: As ``check_labels_and_scores``, or weights do not count each image once.
    """
    y_true, y_score = np.asarray(y_true, dtype=float), np.asarray(y_score, dtype=float)
    unit_of_image = np.arange(weights.shape[1]) if unit_of_image is None else unit_of_image
    check_labels_and_scores(y_true, y_score)
    if unit_of_image.shape != y_true.shape:
        raise UserError(
            f"y_true and weights must describe the same images; got {y_true.size} and {unit_of_image.size} of them"
        )
    positives, negatives = np.flatnonzero(y_true == 1), np.flatnonzero(y_true == 0)
    scores = np.unique(y_score[positives])[::-1]

    def at_scores(places: NDArray, images: NDArray) -> csr_array:
        shape = len(scores), weights.shape[1]
        return csr_array((np.ones(images.size), (places, unit_of_image[images])), shape=shape)

    of_positives = at_scores(np.searchsorted(-scores, -y_score[positives]), positives)
    places = np.searchsorted(-scores, -y_score[negatives])
    counted = places < len(scores)  # the others lie below every positive
    of_negatives = at_scores(places[counted], negatives[counted])
    tied = negatives[counted][scores[places[counted]] == y_score[negatives[counted]]]
    of_tied = at_scores(np.searchsorted(-scores, -y_score[tied]), tied)
    n_of_unit = np.bincount(unit_of_image[negatives], minlength=weights.shape[1]).astype(float)
    least, most = _ROWS_AT_A_TIME
    n_rows = max(least, min(most, _CHUNK_ENTRIES // max(1, len(scores))))
    for start in range(0, len(weights), n_rows):
        columns = weights[start : start + n_rows].T.astype(float, order="C")
        by_score = of_positives @ columns
        yield Ranking(
            positives=np.ascontiguousarray(by_score.T),
            negatives=np.cumsum(np.ascontiguousarray((of_negatives @ columns).T), axis=1),
            n_negatives=n_of_unit @ columns,
            tied_pairs=np.einsum("mr,mr->r", by_score, of_tied @ columns) if tied.size else np.zeros(columns.shape[1]),
        )
