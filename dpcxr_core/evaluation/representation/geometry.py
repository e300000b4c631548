"""How far training moved the embeddings of images, and how many directions they spread over."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.config import UserError


def unit_normalised(embeddings: ArrayLike) -> NDArray[np.float64]:
    """``embeddings`` ``(n_images, n_features)`` with each row scaled to length 1, as float64.

    Raises:
        UserError: A row is not finite, or of length zero and so without direction.
    """
    rows = np.asarray(embeddings, dtype=float)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    directed = np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)
    if not directed.all():
        raise UserError(
            f"{(~directed).sum()} of {len(rows)} embeddings are zero or not finite, so they have no direction; "
            "the training that made them has diverged"
        )
    return rows / lengths


def squared_displacements(before: NDArray, after: NDArray) -> NDArray[np.float64]:
    """``(n_images,)`` squared distance between two embeddings of each image; in [0, 4] for rows of length 1.

    Their mean is the displacement. It depends on the axes: a rotation of all features moves every image, though
    it changes nothing that a linear head could not undo.

    Args:
        before: ``(n_images, n_features)``, before training.
        after: The same images in the same order, after it.
    """
    if np.shape(before) != np.shape(after):
        raise UserError(f"both must embed the same images; got shapes {np.shape(before)} and {np.shape(after)}")
    return np.sum((np.asarray(after, dtype=float) - before) ** 2, axis=1)


def effective_dimension(embeddings: NDArray) -> float:
    """Participation ratio of the eigenvalues of the covariance: k where k directions have equal variance.

    With eigenvalues l it is (sum l)^2 / sum l^2, between 1 and the number of features. From n images it comes out
    too small: of k equal eigenvalues about k / (1 + k / n) are found. NaN where the embeddings do not differ.

    Args:
        embeddings: ``(n_images, n_features)``.

    Source:
        Gao et al. (2017), "A theory of multineuronal dimensionality, dynamics and measurement", bioRxiv 214262.

    Example:
        >>> effective_dimension(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]))
        2.0
    """
    return _participation_ratio(*_moments(embeddings))


def effective_dimensions_left_out(embeddings: NDArray, groups: NDArray) -> NDArray[np.float64]:
    """``(n_groups,)``: ``effective_dimension`` without the images of each group in turn.

    Args:
        embeddings: ``(n_images, n_features)``.
        groups: ``(n_images,)`` int, the group of each image, from 0; as from ``jackknife_groups``.
    """
    n, total, products = _moments(embeddings)
    left_out = []
    for group in range(groups.max() + 1):
        n_group, total_group, products_group = _moments(embeddings[groups == group])
        left_out.append(_participation_ratio(n - n_group, total - total_group, products - products_group))
    return np.array(left_out)


def _moments(embeddings: NDArray) -> tuple[int, NDArray, NDArray]:
    """Count, sum and sum of outer products: what adds up over groups of images."""
    rows = np.asarray(embeddings, dtype=float)
    return len(rows), rows.sum(axis=0), rows.T @ rows


def _participation_ratio(n: int, total: NDArray, products: NDArray) -> float:
    mean = total / n
    covariance = products / n - np.outer(mean, mean)
    spread = np.trace(covariance)
    # what is left of products of about 1 after cancellation is rounding, not spread
    if spread <= 1e-12 * np.trace(products) / n:
        return float("nan")
    return float(spread**2 / np.sum(covariance**2))
