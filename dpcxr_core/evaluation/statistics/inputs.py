"""The labels, scores and weights that every ranking statistic here takes, checked once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.config import UserError


def check_labels_scores_weights(y_true: NDArray, y_score: NDArray, weights: NDArray) -> None:
    """Nothing, when the three describe the same images and can be ranked.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN.
        y_score: ``(n_images,)``, finite where labelled.
        weights: ``(n_rows, n_images)``.

    Raises:
        UserError: Lengths differ, ``y_true`` holds another value, or a labelled image has no finite score.
    """
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
