"""DeLong's variance of an AUROC and test of two, for images that are independent: a check of our main result."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from dpcxr_core.evaluation.statistics.inputs import check_labels_and_scores


@dataclass(frozen=True)
class PairedTest:
    """Two AUROCs on the same images.

    Attributes:
        difference: The first minus the second.
        standard_error: Of the difference.
        p: Two-sided; 1 where the difference and its error are both 0.
    """

    difference: float
    standard_error: float
    p: float


def auroc_covariance(y_true: ArrayLike, y_scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUROCs of several scores of the same images, and the covariance of these AUROCs.

    It takes images for independent. Images of one patient are not: with several images a patient this
    variance is too small, and the resamples of whole patients (``resampling.patients``) are our main result.
    Where every patient has one image, the two agree, which is what this is here to show.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN; images without a reference label (NaN) are left out.
        y_scores: ``(n_scores, n_images)``, finite where labelled. Only the order of each row matters.

    Returns:
        ``(n_scores,)`` AUROCs and ``(n_scores, n_scores)`` covariance; all NaN with fewer than two positives
        or two negatives.

    Raises:
        UserError: Shapes differ, ``y_true`` holds another value, or a labelled image has no finite score.

    Source:
        Sun and Xu (2014), IEEE Signal Processing Letters 21(11), algorithm 2; the variance is that of DeLong,
        DeLong and Clarke-Pearson (1988), Biometrics 44(3).
    """
    y_true, y_scores = np.asarray(y_true, dtype=float), np.asarray(y_scores, dtype=float)
    check_labels_and_scores(y_true, y_scores)
    positive, negative = y_scores[:, y_true == 1], y_scores[:, y_true == 0]
    n_scores, n_positive, n_negative = len(positive), positive.shape[1], negative.shape[1]
    if min(n_positive, n_negative) < 2:
        return np.full(n_scores, np.nan), np.full((n_scores, n_scores), np.nan)
    ranks = rankdata(np.concatenate([positive, negative], axis=1), axis=1)
    # share of the other label's images on the right side of each image, ties half
    of_positive = (ranks[:, :n_positive] - rankdata(positive, axis=1)) / n_negative
    of_negative = 1 - (ranks[:, n_positive:] - rankdata(negative, axis=1)) / n_positive
    covariance = np.cov(of_positive) / n_positive + np.cov(of_negative) / n_negative
    return of_positive.mean(axis=1), np.reshape(covariance, (n_scores, n_scores))


def delong_test(y_true: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike) -> PairedTest:
    """Whether two scores of the same independent images have the same AUROC; NaN where it has no variance.

    Args:
        y_true: As ``auroc_covariance``.
        scores_a: ``(n_images,)``.
        scores_b: ``(n_images,)``, of the same images.

    Raises:
        UserError: As ``auroc_covariance``.

    Example:
        >>> y_true, scores = [0, 0, 0, 1, 1, 1], [0.1, 0.4, 0.2, 0.3, 0.8, 0.9]
        >>> delong_test(y_true, scores, scores)
        PairedTest(difference=0.0, standard_error=0.0, p=1.0)
    """
    aurocs, covariance = auroc_covariance(y_true, np.stack([np.asarray(scores_a), np.asarray(scores_b)]))
    difference = float(aurocs[0] - aurocs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # two scores of the same order leave 0 and rounding errors, of either sign
    error = math.sqrt(variance) if math.isnan(variance) or variance > 1e-15 else 0.0
    if error == 0:
        return PairedTest(difference, error, 1.0 if abs(difference) < 1e-12 else math.nan)
    return PairedTest(difference, error, float(2 * norm.sf(abs(difference) / error)))
