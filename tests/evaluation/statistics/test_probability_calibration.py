import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.statistics.probability_calibration import (
    calibration_features,
    calibration_from_sums,
    pooled_bin_edges,
    recalibration,
)


def _simulated(rng, n_images, slope=0.7, intercept=0.3):
    """Labels whose true log odds are ``intercept + slope * logit(score)``, and the scores."""
    x = rng.normal(-1.5, 1.5, n_images)
    return (rng.random(n_images) < expit(intercept + slope * x)).astype(float), expit(x)


def _statistics(y_true, y_score, weights, edges):
    fit = recalibration(y_true, y_score)
    return calibration_from_sums(weights @ calibration_features(y_true, y_score, edges, fit), fit)


def _reference_ece(y_true, y_score, edges):
    total = 0.0
    for low, high in zip([-np.inf, *edges], [*edges, np.inf], strict=True):
        inside = (y_score >= low) & (y_score < high)
        if inside.any():
            total += inside.mean() * abs(y_true[inside].mean() - y_score[inside].mean())
    return total


def test_bins_hold_equally_many_images_and_ties_stay_together():
    y_score = np.random.default_rng(0).random(1000)
    sizes = np.bincount(np.searchsorted(pooled_bin_edges(y_score, 10), y_score, side="right"))
    assert len(sizes) == 10
    assert set(sizes) <= {99, 100, 101}
    assert pooled_bin_edges([0.2] * 90 + [0.7] * 10, 10).tolist() == [0.7]
    assert pooled_bin_edges([0.2, 0.7], 1).size == 0


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.integers(0, 3)), min_size=2, max_size=40))
def test_brier_and_ece_of_a_resample_are_those_of_the_repeated_images(images):
    y_true, eighths, times = np.array(images).T
    y_true, y_score = y_true.astype(float), eighths / 8
    edges = pooled_bin_edges(y_score, 4)
    statistics = _statistics(y_true, y_score, times[np.newaxis].astype(float), edges)
    y_true, y_score = np.repeat(y_true, times), np.repeat(y_score, times)
    if not y_true.size:
        assert np.isnan([statistics["brier"][0], statistics["ece"][0]]).all()
        return
    # 1e-12: sums of at most 120 float64 terms
    assert statistics["brier"][0] == pytest.approx(np.mean((y_true - y_score) ** 2), abs=1e-12)
    assert statistics["brier"][0] == pytest.approx(brier_score_loss(y_true, y_score, pos_label=1), abs=1e-12)
    assert statistics["ece"][0] == pytest.approx(_reference_ece(y_true, y_score, edges), abs=1e-12)


@pytest.mark.parametrize("n_images", [40, 300, 3000])
def test_the_data_itself_has_the_maximum_likelihood_slope_and_intercepts(n_images):
    y_true, y_score = _simulated(np.random.default_rng(n_images), n_images)
    fit = recalibration(y_true, y_score)
    oracle = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(logit(y_score)[:, np.newaxis], y_true)
    # 1e-6: scikit-learn's solver stops early
    assert fit.slope == pytest.approx(oracle.coef_[0, 0], abs=1e-6)
    assert fit.intercept - fit.slope * fit.centre == pytest.approx(oracle.intercept_[0], abs=1e-6)
    # slope held at 1: the mean of the moved scores is the share of positives
    assert expit(logit(y_score) + fit.in_the_large).mean() == pytest.approx(y_true.mean(), abs=1e-12)
    statistics = _statistics(y_true, y_score, np.ones((1, n_images)), pooled_bin_edges(y_score, 10))
    assert statistics["calibration_slope"][0] == pytest.approx(fit.slope, abs=1e-11)
    assert statistics["calibration_in_the_large"][0] == pytest.approx(fit.in_the_large, abs=1e-11)


def test_slope_and_in_the_large_find_what_was_declared():
    y_true, y_score = _simulated(np.random.default_rng(5), 100_000, slope=0.6, intercept=-0.4)
    fit = recalibration(y_true, y_score)
    y_moved, moved = _simulated(np.random.default_rng(6), 100_000, slope=1.0, intercept=-0.4)
    # 5 standard errors: about 0.006 for the slope, 0.009 for an intercept
    assert fit.slope == pytest.approx(0.6, abs=0.03)
    assert recalibration(y_moved, moved).in_the_large == pytest.approx(-0.4, abs=0.045)


@pytest.mark.parametrize("n_images", [300, 3000])
def test_one_step_from_the_fit_reaches_full_refits_of_the_resamples(n_images):
    rng = np.random.default_rng(20260106)
    y_true, y_score = _simulated(rng, n_images)
    times = rng.multinomial(n_images, np.full(n_images, 1 / n_images), size=400)
    stepped = _statistics(y_true, y_score, times.astype(float), pooled_bin_edges(y_score, 10))
    refits = [recalibration(np.repeat(y_true, row), np.repeat(y_score, row)) for row in times]
    slopes, intercepts = np.array([(fit.slope, fit.in_the_large) for fit in refits]).T
    fit = recalibration(y_true, y_score)
    # hundredths of the standard error: nothing that an interval shows, and too little for Newton's step alone
    for name, full, start, share in (
        ("calibration_slope", slopes, fit.slope, 0.03),
        ("calibration_in_the_large", intercepts, fit.in_the_large, 0.01),
    ):
        tolerated = share * full.std()
        np.testing.assert_allclose(
            np.quantile(stepped[name], [0.025, 0.5, 0.975]), np.quantile(full, [0.025, 0.5, 0.975]), atol=3 * tolerated
        )
        assert np.abs(stepped[name] - full).mean() < tolerated
        assert np.abs(start - full).mean() > tolerated  # no step at all would be seen


def test_a_slope_that_no_finite_number_fits_best_is_nan_with_a_reason():
    parted = recalibration([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    assert np.isnan(parted.slope)
    assert "part positives from negatives" in parted.reason
    assert np.isfinite(parted.in_the_large)
    assert recalibration([1, 0, 1], [0.1, 0.4, 0.1]).reason == parted.reason  # the wrong way round
    assert recalibration([0, 1, 1], [0.3, 0.3, 0.3]).reason == "all scores are equal"
    missing = recalibration([1, 1, np.nan], [0.3, 0.4, 0.5])
    assert np.isnan([missing.slope, missing.in_the_large]).all()
    assert missing.reason == "positives or negatives are missing"


@pytest.mark.parametrize("y_true", [[0, 0, 1, 1], [1, 1, 1, 1], [np.nan] * 4])
def test_where_the_fit_is_undefined_the_sums_are_finite_and_the_statistics_nan(y_true):
    y_score = np.array([0.1, 0.2, 0.7, 0.8])
    fit = recalibration(y_true, y_score)
    features = calibration_features(y_true, y_score, np.array([0.5]), fit)
    assert np.isfinite(features).all()
    statistics = calibration_from_sums(features.sum(axis=0)[np.newaxis], fit)
    assert np.isnan(statistics["calibration_slope"][0])
    assert np.isnan(statistics["brier"][0]) == np.isnan(y_true).all()


def test_a_resample_of_one_score_has_no_slope():
    y_true, y_score = np.array([0, 1, 0, 1, 0, 1.0]), np.array([0.3, 0.3, 0.3, 0.3, 0.6, 0.7])
    weights = np.random.default_rng(8).integers(1, 9, (200, 6)).astype(float)
    weights[:100, 4:] = 0
    statistics = _statistics(y_true, y_score, weights, np.array([0.5]))
    np.testing.assert_equal(np.isnan(statistics["calibration_slope"]), np.arange(200) < 100)
    assert not np.isnan(statistics["calibration_in_the_large"]).any()


def test_certain_scores_count_as_the_largest_that_float32_tells_apart():
    y_true = [0, 0, 1, 0, 1, 1]
    certain = np.array([0, 0.2, 0.3, 0.6, 0.7, 1])
    nearest = np.clip(certain, 2.0**-24, 1 - 2.0**-24)
    assert recalibration(y_true, certain) == recalibration(y_true, nearest)
    assert np.isfinite(recalibration(y_true, certain).slope)


def test_scores_that_hardly_differ_have_a_slope_too():
    rng = np.random.default_rng(7)
    y_true, y_score = _simulated(rng, 2000)
    squeezed = expit(-3 + 1e-6 * logit(y_score))  # as a network that noise has made nearly constant
    weights = rng.multinomial(2000, np.full(2000, 1 / 2000), size=20).astype(float)
    edges = pooled_bin_edges(squeezed, 10)
    wide = _statistics(y_true, y_score, weights, edges)["calibration_slope"]
    narrow = _statistics(y_true, squeezed, weights, edges)["calibration_slope"]
    # 1e-6: a logit of -3 keeps nine digits of what is left of the spread
    np.testing.assert_allclose(narrow, 1e6 * wide, rtol=1e-6)


def test_images_without_a_label_and_other_groups_add_nothing():
    y_true, y_score = np.array([0, 1, np.nan, 0, 1]), np.array([0.3, 0.8, np.nan, 0.6, 0.5])
    fit = recalibration(y_true, y_score)
    features = calibration_features(y_true, y_score, np.array([0.5]), fit)
    assert not features[2].any()
    assert features[[0, 1, 3, 4]].any(axis=1).all()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: pooled_bin_edges([0.1, 0.2], 0), "n_bins"),
        (lambda: pooled_bin_edges([], 10), "at least one score"),
        (lambda: pooled_bin_edges([0.1, np.nan], 10), "probabilities"),
        (lambda: recalibration([0, 1], [-2.0, 3.0]), "no logits"),
    ],
)
def test_wrong_inputs_are_refused(call, named):
    with pytest.raises(UserError, match=named):
        call()
