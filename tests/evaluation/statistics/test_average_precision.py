import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.statistics.average_precision import average_precisions_of
from dpcxr_core.evaluation.statistics.ranking import rankings

# few distinct scores, so that most examples hold ties
IMAGES = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, np.nan]), st.integers(-4, 4), st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


def _average_precisions(y_true, y_score, weights):
    return np.concatenate([average_precisions_of(ranking) for ranking in rankings(y_true, y_score, weights)])


def _reference_steps_average_precision(y_true, y_score, weights):
    labelled = ~np.isnan(y_true)
    y_true, y_score, weights = y_true[labelled], y_score[labelled], weights[labelled]
    n_positive, n_negative = weights[y_true == 1].sum(), weights[y_true == 0].sum()
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    average = 0.0
    for cut in np.unique(y_score):
        predicted, entering = y_score >= cut, (y_score == cut) & (y_true == 1)
        if weights[entering].sum() > 0:
            precision = weights[predicted & (y_true == 1)].sum() / weights[predicted].sum()
            average += weights[entering].sum() / n_positive * precision
    return average


@settings(derandomize=True, deadline=None)
@given(IMAGES)
def test_average_precision_equals_stepping_through_every_cut(images):
    y_true, y_score, weights = np.array(images, dtype=float).T
    ours = _average_precisions(y_true, y_score, weights[np.newaxis])[0]
    # 1e-12: both are sums of at most 25 float64 terms
    np.testing.assert_allclose(ours, _reference_steps_average_precision(y_true, y_score, weights), rtol=0, atol=1e-12)


@settings(derandomize=True, deadline=None)
@given(IMAGES)
def test_average_precision_is_unchanged_by_increasing_transforms(images):
    y_true, y_score, weights = np.array(images, dtype=float).T
    expected = _average_precisions(y_true, y_score, weights[np.newaxis])
    np.testing.assert_equal(_average_precisions(y_true, np.exp(y_score), weights[np.newaxis]), expected)


def test_each_row_of_weights_is_scikit_learns_value_for_the_repeated_images():
    rng = np.random.default_rng(4)
    n_images, n_rows = 2000, 150  # 65 rows fill a chunk
    y_true = rng.choice([0.0, 1.0, np.nan], n_images, p=[0.7, 0.1, 0.2])
    y_score = rng.integers(0, 50, n_images) / 50
    weights = rng.integers(0, 4, (n_rows, n_images)).astype(np.uint16)
    averages = _average_precisions(y_true, y_score, weights)
    for row in (0, 64, 65, 149):
        repeated = np.repeat(np.arange(n_images), weights[row] * ~np.isnan(y_true))
        expected = average_precision_score(y_true[repeated], y_score[repeated])
        assert averages[row] == pytest.approx(expected, abs=1e-12)


def test_average_precision_is_nan_where_a_class_is_missing():
    weights = np.array([[1, 1, 0], [0, 0, 1], [1, 1, 1]])
    # highest first: the negative leads both positives
    np.testing.assert_allclose(
        _average_precisions([1, 1, 0], [0.1, 0.3, 0.5], weights), [np.nan, np.nan, (1 / 2 + 2 / 3) / 2]
    )
    assert np.isnan(_average_precisions([1, np.nan], [0.1, 0.2], np.ones((1, 2)))).all()


def test_wrong_inputs_are_refused():
    with pytest.raises(UserError, match="finite"):
        _average_precisions([0, 1], [0.1, np.nan], np.ones((1, 2)))
