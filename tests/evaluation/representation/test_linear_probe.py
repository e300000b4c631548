import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier

from dpcxr_core.evaluation.representation.geometry import unit_normalised
from dpcxr_core.evaluation.representation.linear_probe import (
    macro_draws,
    measurable_findings,
    probe_scores,
    standardised,
)
from dpcxr_core.evaluation.resampling.patients import resamples_of


@pytest.fixture
def embedded():
    """Training embeddings and labels of three findings, test embeddings."""
    rng = np.random.default_rng(0)
    train, test = (unit_normalised(rng.normal(size=(n, 8))) for n in (200, 60))
    labels = (train[:, :3] + rng.normal(scale=0.2, size=(200, 3)) > 0).astype(np.float32)
    return train, labels, test


def test_probe_is_one_logistic_regression_against_the_rest(embedded):
    train, labels, test = embedded
    reference = OneVsRestClassifier(LogisticRegression(solver="liblinear", C=1.0, max_iter=2000))
    expected = reference.fit(train, labels.astype(int)).predict_proba(test)
    # both stop at liblinear's tolerance of 1e-4, from the same start
    np.testing.assert_allclose(probe_scores(train, labels, test), expected, atol=1e-6)


def test_images_without_a_label_are_left_out_for_that_finding_alone(embedded):
    train, labels, test = embedded
    labels[:50, 1] = np.nan
    scores = probe_scores(train, labels, test)
    np.testing.assert_array_equal(scores[:, 1], probe_scores(train[50:], labels[50:, 1:2], test)[:, 0])
    np.testing.assert_array_equal(scores[:, 0], probe_scores(train, labels[:, :1], test)[:, 0])


def test_features_are_standardised_by_the_training_images_alone(embedded):
    train, _, test = embedded
    train[:, 3] = 0.5
    scaled_train, scaled_test = standardised(train, test)
    np.testing.assert_allclose(scaled_train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled_train.std(axis=0), [1, 1, 1, 0, 1, 1, 1, 1])
    varying = [0, 1, 2, 4, 5, 6, 7]
    expected = (test - train.mean(axis=0))[:, varying] / train.std(axis=0)[varying]
    np.testing.assert_allclose(scaled_test[:, varying], expected)


def test_one_class_alone_teaches_nothing(embedded):
    train, labels, test = embedded
    labels[:, 2] = 0
    assert np.isnan(probe_scores(train, labels, test)).all(axis=0).tolist() == [False, False, True]


def test_findings_need_ten_of_each_kind_and_scores_everywhere():
    y_true = np.zeros((30, 4))
    y_true[:10, :2], y_true[:9, 2], y_true[:21, 3] = 1, 1, 1
    scores, without_second = np.zeros((30, 4)), np.zeros((30, 4))
    without_second[:, 1] = np.nan
    assert measurable_findings(y_true, np.arange(30), scores).tolist() == [0, 1]
    assert measurable_findings(y_true, np.arange(30), scores, without_second).tolist() == [0]
    assert measurable_findings(y_true, np.arange(30) // 2, scores).size == 0  # ten images of five patients


def test_draws_are_means_of_aurocs_of_repeated_patients():
    rng = np.random.default_rng(1)
    y_true, y_score = rng.integers(2, size=(90, 2)).astype(float), rng.random((90, 2)).round(1)
    resamples = resamples_of(np.arange(90) // 3, np.zeros(90), 5, rng)
    draws = macro_draws(y_true, y_score, resamples)
    assert draws.shape == (6,)
    for draw, of_patient in zip(draws, resamples.weights, strict=True):
        rows = np.repeat(np.arange(90), of_patient[resamples.patient_of_image])
        expected = np.mean([roc_auc_score(y_true[rows, finding], y_score[rows, finding]) for finding in (0, 1)])
        assert draw == pytest.approx(expected, abs=1e-12)
