import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from dpcxr_core.evaluation.transfer.matched_fpr import tpr_at_fpr
from dpcxr_core.evaluation.transfer.transported import operating_point
from tests.evaluation.transfer.conftest import simulated


@pytest.mark.parametrize("fpr", [0.0, 0.07, 0.5, 1.0])
def test_it_is_the_point_of_scikit_learns_curve_in_every_resample(simulate, fpr):
    scores = simulate(n=120, n_resamples=20, images_per_patient=2)
    rounded = type(scores)(scores.y_true, np.round(scores.y_score, 1), scores.case_mix, scores.resamples)
    expected = []
    for weights in rounded.weights:
        alarms, caught, _ = roc_curve(rounded.y_true, rounded.y_score, sample_weight=weights, drop_intermediate=False)
        expected.append(np.interp(fpr, alarms, caught))
    np.testing.assert_allclose(tpr_at_fpr(rounded, fpr), expected, atol=1e-12)


@settings(derandomize=True, deadline=None)
@given(cut=st.floats(0.05, 0.95))
def test_at_its_own_fpr_a_threshold_finds_its_own_tpr(cut):
    scores = simulated(n=80, n_resamples=5)
    point = operating_point(scores, cut)
    matched = tpr_at_fpr(scores, point["fpr"])
    # a vertical piece of the curve holds several TPR of one FPR: the highest counts
    assert (matched >= point["tpr"] - 1e-12).all()
    just_above = operating_point(scores, np.min(scores.y_score[scores.y_score >= cut], initial=1.0))
    np.testing.assert_allclose(just_above["tpr"], point["tpr"])


def test_scores_that_are_all_alike_gain_nothing(make_resampled):
    alike = make_resampled([1, 1, 0, 0, 0] * 10, np.full(50, 0.4))
    np.testing.assert_allclose(tpr_at_fpr(alike, 0.3), 0.3)


def test_without_a_class_or_a_rate_there_is_none(make_resampled):
    assert np.isnan(tpr_at_fpr(make_resampled([1, 1, 1], [0.1, 0.2, 0.3]), 0.1)).all()
    assert np.isnan(tpr_at_fpr(make_resampled([1, 0, 1, 0], [0.1, 0.2, 0.3, 0.4]), np.nan)).all()
