import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import f1_score, precision_score, recall_score

from dpcxr_core.evaluation.transfer.resampled_scores import ResampledScores
from dpcxr_core.evaluation.transfer.transported import (
    AT_HOME,
    AT_HOME_FPR,
    LOST_OPERATING_POINT,
    NOT_GOT_BACK,
    RETUNED,
    TRANSPORTED,
    operating_point,
    transported,
)

INDEX = "youden_index"


def test_an_operating_point_is_scikit_learns_in_every_resample(simulate):
    scores = simulate(n=150, n_resamples=10, images_per_patient=3)
    point = operating_point(scores, 0.6)
    y_pred = scores.y_score >= 0.6
    for row, weights in enumerate(scores.weights):
        weighted = {"y_true": scores.y_true, "y_pred": y_pred, "sample_weight": weights}
        expected = {
            "tpr": recall_score(**weighted),
            "fpr": recall_score(1 - scores.y_true, y_pred, sample_weight=weights),
            "ppv": precision_score(**weighted),
            "f1": f1_score(**weighted),
        }
        assert {name: point[name][row] for name in expected} == pytest.approx(expected, abs=1e-12)
        assert point[INDEX][row] == pytest.approx(expected["tpr"] - expected["fpr"], abs=1e-12)


def test_the_two_losses_add_up_to_the_change(simulate):
    home, abroad = simulate(seed=1), simulate(seed=2, signal=1.0, moved=0.8)
    found = transported(home, abroad, 0.6, 0.8)
    lost = found[NOT_GOT_BACK, INDEX] + found[LOST_OPERATING_POINT, INDEX]
    np.testing.assert_allclose(lost, found[AT_HOME, INDEX] - found[TRANSPORTED, INDEX], atol=1e-12)


def test_scores_that_only_moved_lose_their_operating_point_and_no_ranking(simulate):
    home = simulate(n=3000)
    moved = ResampledScores(home.y_true, expit(logit(home.y_score) + 1.5), home.case_mix, home.resamples)
    found = transported(home, moved, 0.68, expit(logit(0.68) + 1.5))
    np.testing.assert_allclose(found[NOT_GOT_BACK, INDEX], 0, atol=1e-12)
    assert found[LOST_OPERATING_POINT, INDEX][0] > 0.2
    stayed = transported(home, home, 0.68, 0.68)
    np.testing.assert_allclose(found[AT_HOME_FPR, "tpr"], stayed[AT_HOME_FPR, "tpr"], rtol=0, atol=1e-12)


def test_a_weaker_signal_loses_ranking_and_no_operating_point(simulate):
    home, abroad = simulate(n=20_000, signal=1.5), simulate(n=20_000, signal=0.5, moved=0.5, seed=5)
    found = transported(home, abroad, expit(0.75), expit(0.75))
    assert found[NOT_GOT_BACK, INDEX][1:].min() > 0.2
    np.testing.assert_array_equal(found[LOST_OPERATING_POINT, INDEX], 0)
    assert found[AT_HOME_FPR, "tpr"][0] < found[AT_HOME, "tpr"][0] - 0.2


def test_a_threshold_that_is_missing_makes_its_part_undefined(simulate):
    found = transported(simulate(), simulate(seed=2), 0.6, float("nan"))
    assert np.isnan(found[RETUNED, "tpr"]).all()
    assert np.isnan(found[NOT_GOT_BACK, INDEX]).all()
    assert np.isfinite(found[TRANSPORTED, "tpr"]).all()
    assert np.isnan(transported(simulate(), simulate(), float("nan"), 0.5)[AT_HOME_FPR, "tpr"]).all()
