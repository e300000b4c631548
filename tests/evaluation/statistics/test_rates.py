import numpy as np
import pytest
from fairlearn.metrics import false_positive_rate, selection_rate, true_positive_rate
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, precision_score

from dpcxr_core.evaluation.statistics.rates import UNDEFINED_RATES, confusion_features, rates_from_counts


def test_counts_equal_scikit_learns_confusion_matrix_and_unlabelled_images_are_in_none():
    rng = np.random.default_rng(20260101)
    y_true, y_pred = rng.choice([0.0, 1.0, np.nan], 300), rng.random(300) < 0.4
    features = confusion_features(y_true, y_pred)
    labelled = ~np.isnan(y_true)
    np.testing.assert_array_equal(features.sum(axis=1), labelled)
    tn, fp, fn, tp = confusion_matrix(y_true[labelled], y_pred[labelled]).ravel()
    assert features.sum(axis=0).tolist() == [tp, fp, tn, fn]


def test_rates_equal_scikit_learns_and_fairlearns_on_repeated_images():
    rng = np.random.default_rng(20260101)
    y_true, y_pred = rng.integers(0, 2, 400), rng.random(400) < 0.3
    weights = rng.integers(0, 4, (3, 400))
    rates = rates_from_counts(weights @ confusion_features(y_true, y_pred))
    for row in range(3):
        true, pred = np.repeat(y_true, weights[row]), np.repeat(y_pred, weights[row]).astype(int)
        expected = {
            "tpr": true_positive_rate(true, pred),
            "fpr": false_positive_rate(true, pred),
            "ppv": precision_score(true, pred),
            "npv": precision_score(1 - true, 1 - pred),
            "f1": f1_score(true, pred),
            "selection_rate": selection_rate(true, pred),
        }
        assert {name: values[row] for name, values in rates.items()} == pytest.approx(expected, abs=1e-12)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_a_rate_is_a_share_or_is_undefined(counts):
    tp, fp, tn, fn = counts
    rates = rates_from_counts(np.array(counts))
    assert set(rates) == set(UNDEFINED_RATES)
    undefined = {name for name, value in rates.items() if np.isnan(value)}
    assert ("tpr" in undefined) == (tp + fn == 0)
    assert ("fpr" in undefined) == (fp + tn == 0)
    assert ("ppv" in undefined) == (tp + fp == 0)
    assert ("npv" in undefined) == (tn + fn == 0)
    assert ("f1" in undefined) == (tp + fp + fn == 0)
    assert ("selection_rate" in undefined) == (sum(counts) == 0)
    assert all(0 <= value <= 1 for value in rates.values() if not np.isnan(value))
