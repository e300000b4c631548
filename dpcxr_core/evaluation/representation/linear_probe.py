"""What a linear head could read from frozen embeddings, and how much of that a trained network uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dpcxr_core.evaluation.groups import unmeasurable
from dpcxr_core.evaluation.resampling.patients import Resamples
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs


def probe_scores(train_embeddings: NDArray, train_labels: NDArray, test_embeddings: NDArray) -> NDArray[np.float64]:
    """Probabilities ``(n_test, n_findings)`` of a logistic regression for each finding, one against the rest.

    L2 penalty with C of 1, fitted **without privacy**: it reads labels that a certificate may protect, and nothing
    of it is covered by that certificate. On embeddings of length 1, which may differ by little, that penalty is
    strong, and hides what differs least; on ``standardised`` ones it is weak.

    Args:
        train_embeddings: ``(n_train, n_features)``.
        train_labels: ``(n_train, n_findings)`` of 1, 0 and NaN; images without a label are left out.
        test_embeddings: ``(n_test, n_features)``.

    Returns:
        NaN in the column of a finding of which only one class was seen.

    Source:
        arXiv 2603.01098 and its code: liblinear, embeddings of length 1, no class weights.
    """
    scores = np.full((len(test_embeddings), train_labels.shape[1]), np.nan)
    for finding, labels in enumerate(train_labels.T):
        known = ~np.isnan(labels)
        if len(np.unique(labels[known])) == 2:
            probe = LogisticRegression(solver="liblinear", C=1.0, max_iter=2000, random_state=0)
            probe.fit(train_embeddings[known], labels[known])
            scores[:, finding] = probe.predict_proba(test_embeddings)[:, 1]
    return scores


def standardised(train_embeddings: NDArray, test_embeddings: NDArray) -> tuple[NDArray, NDArray]:
    """Both with each feature shifted and scaled to mean 0 and variance 1 over the training images."""
    scaler = StandardScaler().fit(train_embeddings)
    return scaler.transform(train_embeddings), scaler.transform(test_embeddings)


def measurable_findings(y_true: NDArray, patient_of_image: NDArray, *y_scores: NDArray) -> NDArray[np.int64]:
    """Positions of the findings that are not ``unmeasurable``, and have scores in all of ``y_scores``."""
    enough = [not unmeasurable(labels, patient_of_image) for labels in y_true.T]
    return np.flatnonzero(np.all([enough, *(~np.isnan(scores).any(axis=0) for scores in y_scores)], axis=0))


def macro_draws(y_true: NDArray, y_score: NDArray, resamples: Resamples) -> NDArray[np.float64]:
    """``(1 + n_resamples,)`` mean AUROC over findings, on the data and on every resample.

    Args:
        y_true: ``(n_images, n_findings)`` of 1, 0 and NaN, of the findings to average over.
        y_score: The same shape; only the order within a finding matters.
        resamples: Of the patients of these images.
    """
    by_finding = [
        weighted_aurocs(labels, scores, resamples.weights, resamples.patient_of_image)
        for labels, scores in zip(y_true.T, y_score.T, strict=True)
    ]
    return np.mean(by_finding, axis=0)
