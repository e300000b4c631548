"""The labels and scores that every ranking statistic here takes, checked once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.config import UserError


def check_labels_and_scores(y_true: NDArray, y_score: NDArray) -> None:
    """Nothing, when both describe the same images and these can be ranked.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN.
        y_score: ``(..., n_images)``, finite where labelled.

    Raises:
        UserError: Lengths differ, ``y_true`` holds another value, or a labelled image has no finite score.
    """
    if y_true.ndim != 1 or y_score.shape[-1:] != y_true.shape:
        raise UserError(
            f"y_true and y_score must describe the same images; got shapes {y_true.shape} and {y_score.shape}"
        )
    labelled = ~np.isnan(y_true)
    others = y_true[labelled & (y_true != 0) & (y_true != 1)]
    if others.size:
        raise UserError(f"y_true must be 1, 0 or NaN; found {others[0]}. Map uncertain labels first.")
    if not np.isfinite(y_score[..., labelled]).all():
        raise UserError("y_score must be finite for every labelled image; found NaN or infinity")
