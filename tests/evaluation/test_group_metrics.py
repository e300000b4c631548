import numpy as np
import pytest
from fairlearn.metrics import false_positive_rate, selection_rate, true_positive_rate
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, precision_score, roc_auc_score

from dpcxr_core.evaluation.group_metrics import RATE_METRICS, SCORE_METRICS, rate_metrics, score_metrics
from dpcxr_core.evaluation.resampling.patients import image_weights, resamples_of

EDGES = np.array([0.3, 0.5, 0.6])


@pytest.fixture
def images():
    """Labels, scores with ties, and resamples of 60 patients of five images each."""
    rng = np.random.default_rng(20260101)
    y_true = (rng.random(300) < 0.3).astype(float)
    y_score = np.round(1 / (1 + np.exp(-rng.normal(y_true))), 2)
    patients = np.repeat(np.arange(60), 5)
    return y_true, y_score, resamples_of(patients, patients % 2, 8, rng)


def _expected_calibration_error(y_true, y_score):
    bins = np.digitize(y_score, EDGES)
    gaps = [abs((y_true - y_score)[bins == b].sum()) for b in range(len(EDGES) + 1)]
    return sum(gaps) / len(y_true)


def test_every_row_is_the_metric_of_the_repeated_images(images):
    y_true, y_score, resamples = images
    measured = score_metrics(y_true, y_score, resamples, EDGES) | rate_metrics(y_true, y_score, resamples, 0.6)
    assert set(measured) == {*SCORE_METRICS, *RATE_METRICS}
    for row, weights in enumerate(image_weights(resamples)):
        true, score = np.repeat(y_true, weights), np.repeat(y_score, weights)
        predicted = score >= 0.6
        expected = {
            "auroc": roc_auc_score(true, score),
            "auprc": average_precision_score(true, score),
            "prevalence": true.mean(),
            "brier": brier_score_loss(true, score),
            "ece": _expected_calibration_error(true, score),
            "tpr": true_positive_rate(true, predicted),
            "fpr": false_positive_rate(true, predicted),
            "ppv": precision_score(true, predicted),
            "npv": precision_score(1 - true, ~predicted),
            "f1": f1_score(true, predicted),
            "selection_rate": selection_rate(true, predicted),
        }
        # 1e-12: sums of a few hundred float64 terms
        assert {name: measured[name][0][row] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert {reason for _, reason in measured.values()} == {""}


def test_without_a_threshold_rates_are_undefined_and_say_so(images):
    measured = rate_metrics(*images, float("nan"))
    assert set(measured) == set(RATE_METRICS)
    for draws, reason in measured.values():
        assert draws.shape == (9,)
        assert np.isnan(draws).all()
        assert reason == "no decision threshold"


def test_a_threshold_above_every_score_leaves_ppv_undefined_and_nothing_else(images):
    measured = rate_metrics(*images, 1.0)
    assert measured["ppv"][1] == "no image predicted positive"
    assert np.isnan(measured["ppv"][0]).all()
    others = {name: (draws[0], reason) for name, (draws, reason) in measured.items() if name != "ppv"}
    assert others["tpr"] == (0, "")
    assert others["npv"][0] == pytest.approx(np.mean(images[0] == 0))
    assert {reason for _, reason in others.values()} == {""}


def test_perfect_separation_leaves_the_slope_undefined_and_says_why(images):
    y_true, _, resamples = images
    measured = score_metrics(y_true, 0.25 + 0.5 * y_true, resamples, EDGES)
    slope, reason = measured["calibration_slope"]
    assert np.isnan(slope).all()
    assert reason
    assert measured["auroc"][0][0] == 1
    assert measured["calibration_in_the_large"][1] == ""
