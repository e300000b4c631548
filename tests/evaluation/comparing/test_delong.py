import math

import numpy as np
import pauc
import pytest
from MLstatkit import Delong_test

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.delong import auroc_covariance, delong_test
from dpcxr_core.evaluation.statistics.auroc import auroc


def _scored(seed, n=120, decimals=1):
    """Labels and two correlated scores of independent images, with ties."""
    rng = np.random.default_rng(seed)
    y_true = (rng.random(n) < 0.3).astype(float)
    shared = rng.normal(size=n) + y_true
    return y_true, *(np.round(shared + rng.normal(scale=scale, size=n), decimals) for scale in (0.5, 1.0))


def _pairwise_covariance(y_true, y_scores):
    """Slow and obvious: every positive against every negative, as DeLong and others wrote it in 1988."""
    wins = []
    for scores in y_scores:
        positive, negative = scores[y_true == 1][:, np.newaxis], scores[y_true == 0]
        wins.append((positive > negative) + 0.5 * (positive == negative))
    of_positive, of_negative = ([each.mean(axis=axis) for each in wins] for axis in (1, 0))
    return np.cov(of_positive) / len(of_positive[0]) + np.cov(of_negative) / len(of_negative[0])


@pytest.mark.parametrize("seed", range(5))
def test_equals_counting_pairs_and_the_public_implementations(seed):
    y_true, a, b = _scored(seed)
    aurocs, covariance = auroc_covariance(y_true, np.stack([a, b]))
    np.testing.assert_allclose(aurocs, [auroc(y_true, a), auroc(y_true, b)], atol=1e-12)
    np.testing.assert_allclose(covariance, _pairwise_covariance(y_true, [a, b]), atol=1e-15)
    test = delong_test(y_true, a, b)
    z, p, *_ = Delong_test(y_true, a, b)
    assert test.p == pytest.approx(p, abs=1e-9)
    assert -test.difference / test.standard_error == pytest.approx(z, abs=1e-9)
    rocs = [pauc.ROC(y_true, scores, direction="<") for scores in (a, b)]
    assert covariance[0, 0] == pytest.approx(pauc.var(rocs[0]), abs=1e-12)
    assert covariance[0, 1] == pytest.approx(pauc.cov(*rocs), abs=1e-12)
    assert test.p == pytest.approx(pauc.compare(*rocs).p_value, abs=1e-9)


def test_unlabelled_images_count_for_nothing():
    y_true, a, b = _scored(0)
    y_true[:20] = math.nan
    a[:10] = math.nan
    assert delong_test(y_true, a, b) == delong_test(y_true[20:], a[20:], b[20:])


def test_the_same_order_does_not_differ():
    y_true, a, _ = _scored(0)
    test = delong_test(y_true, a, np.exp(a))
    assert (test.difference, test.standard_error, test.p) == (0, 0, 1)


def test_what_has_no_variance_has_no_p():
    test = delong_test([0, 0, 1, 1], [0, 1, 2, 3], [3, 2, 1, 0])  # right in every pair against wrong in every pair
    assert test.difference == 1
    assert math.isnan(test.p)
    test = delong_test([0, 0, 1], [0, 1, 2], [3, 2, 1])
    assert math.isnan(test.difference)
    assert math.isnan(test.p)


def test_the_variance_is_that_of_independent_images_and_too_small_for_clustered_ones():
    """2,000 test sets of 100 images; the wrong use is 50 patients of two like images each."""
    rng = np.random.default_rng(20260101)

    def z_of_variance(copies):
        aurocs, variances = [], []
        for _ in range(2000):
            y_true = np.repeat(np.arange(100 // copies) % 2, copies)
            score = np.repeat(rng.normal(size=100 // copies), copies) + y_true
            value, covariance = auroc_covariance(y_true, score[np.newaxis])
            aurocs.append(value[0])
            variances.append(covariance[0, 0])
        return (np.var(aurocs) / np.mean(variances) - 1) / math.sqrt(2 / 2000)

    assert abs(z_of_variance(copies=1)) < 5
    assert z_of_variance(copies=2) > 5  # the mistake this test exists for


def test_mistakes_are_named():
    with pytest.raises(UserError, match="same images"):
        auroc_covariance([0, 1], [[0.1, 0.2, 0.3]])
    with pytest.raises(UserError, match="uncertain"):
        auroc_covariance([0, -1], [[0.1, 0.2]])
    with pytest.raises(UserError, match="finite"):
        auroc_covariance([0, 1], [[0.1, math.nan]])
