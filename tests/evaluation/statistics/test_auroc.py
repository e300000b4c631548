import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.statistics.auroc import auroc, weighted_aurocs

# few distinct scores, so that most examples hold ties
IMAGES = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, np.nan]), st.integers(-4, 4), st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


def _reference_pairs_auroc(y_true, y_score, weights):
    wins = pairs = 0.0
    for label_p, score_p, weight_p in zip(y_true, y_score, weights, strict=True):
        for label_n, score_n, weight_n in zip(y_true, y_score, weights, strict=True):
            if label_p == 1 and label_n == 0:
                pairs += weight_p * weight_n
                wins += weight_p * weight_n * ((score_p > score_n) + 0.5 * (score_p == score_n))
    return wins / pairs if pairs else float("nan")


@settings(derandomize=True, deadline=None)
@given(IMAGES)
def test_auroc_equals_counting_all_pairs(images):
    y_true, y_score, weights = np.array(images, dtype=float).T
    expected = _reference_pairs_auroc(y_true, y_score, weights)
    np.testing.assert_allclose(auroc(y_true, y_score, weights), expected, rtol=0, atol=1e-12)


@settings(derandomize=True, deadline=None)
@given(IMAGES)
def test_auroc_is_unchanged_by_increasing_transforms(images):
    y_true, y_score, _ = np.array(images, dtype=float).T
    expected = auroc(y_true, y_score)
    for transformed in (np.exp(y_score), y_score**3, 7 * y_score - 2):
        np.testing.assert_equal(auroc(y_true, transformed), expected)
    np.testing.assert_allclose(auroc(y_true, -y_score), 1 - expected, atol=1e-12)


def test_auroc_equals_scikit_learn():
    rng = np.random.default_rng(20260101)
    y_true = (rng.random(3000) < 0.1).astype(float)
    y_score = np.round(rng.normal(y_true), 2)
    weights = rng.integers(0, 4, 3000)
    # 1e-12: both are sums of a few thousand float64 terms
    assert auroc(y_true, y_score) == pytest.approx(roc_auc_score(y_true, y_score), abs=1e-12)
    assert auroc(y_true, y_score, weights) == pytest.approx(
        roc_auc_score(y_true, y_score, sample_weight=weights), abs=1e-12
    )


def test_each_row_of_weights_is_the_auroc_of_the_repeated_images():
    rng = np.random.default_rng(3)
    n_images, n_resamples = 2000, 150  # 65 rows fill a chunk
    y_true = rng.choice([0.0, 1.0, np.nan], n_images)
    y_score = rng.integers(0, 50, n_images) / 50
    weights = rng.integers(0, 4, (n_resamples, n_images)).astype(np.uint16)
    aurocs = weighted_aurocs(y_true, y_score, weights)
    for row in (0, 64, 65, 149):
        assert aurocs[row] == auroc(np.repeat(y_true, weights[row]), np.repeat(y_score, weights[row]))


def test_auroc_is_nan_where_a_class_is_missing():
    assert np.isnan(auroc([1, 1, np.nan], [0.1, 0.2, 0.3]))
    assert np.isnan(auroc([], []))
    weights = np.array([[1, 1, 0], [1, 1, 1]])
    np.testing.assert_equal(weighted_aurocs([1, 1, 0], [0.1, 0.3, 0.2], weights), [np.nan, 0.5])


def test_scores_of_unlabelled_images_are_not_read():
    assert auroc([0, 1, np.nan], [0.1, 0.9, np.nan]) == 1


@pytest.mark.parametrize(
    ("y_true", "y_score", "named"),
    [
        ([0, 1, -1], [0.1, 0.2, 0.3], "-1"),
        ([0, 1], [0.1, np.nan], "finite"),
        ([0, 1], [0.1, 0.2, 0.3], r"\(2,\)"),
    ],
)
def test_wrong_inputs_are_refused(y_true, y_score, named):
    with pytest.raises(UserError, match=named):
        auroc(y_true, y_score)
