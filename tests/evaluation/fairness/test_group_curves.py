import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score

from dpcxr_core.evaluation.fairness.group_curves import calibration_by_group, roc_by_group


@pytest.fixture
def images():
    """Labels, scores and groups: in A the scores tell more than in B; C is small; some are missing."""
    rng = np.random.default_rng(0)
    group = np.array(["A"] * 2000 + ["B"] * 500 + ["C"] * 15 + [None] * 85, dtype=object)
    y_true = (rng.random(2600) < 0.3).astype(float)
    signal = np.where(group == "A", 3.0, 1.0) * (y_true - 0.5)
    y_true[::50] = np.nan
    y_score = 1 / (1 + np.exp(-(np.where(np.isnan(signal), 0, signal) + rng.normal(size=2600))))
    return y_true, y_score, group


def test_the_area_under_a_curve_is_the_aurocs_to_the_width_of_a_step(images):
    y_true, y_score, group = images
    curves = roc_by_group(*images)
    assert list(dict.fromkeys(curves["group"])) == ["A", "B"]
    for name, curve in curves.groupby("group"):
        inside = (group == name) & ~np.isnan(y_true)
        area = np.trapezoid(curve["tpr"], curve["fpr"])
        # of a rise by 1 in 20 steps, the trapezoids' area is wrong by half a step at the most
        assert area == pytest.approx(roc_auc_score(y_true[inside], y_score[inside]), abs=0.5 / 20)
        assert np.diff(curve["tpr"]).min() >= 0
        assert curve["tpr"].iloc[-1] == 1


def test_between_thresholds_a_curve_is_straight_and_where_it_stands_upright_its_upper_end():
    # of 20 positives and 40 negatives, 10 and 20 share the highest score; then come 6 positives, then the rest
    y_true = np.repeat([1.0, 0.0, 1.0, 0.0, 1.0], [10, 20, 6, 20, 4])
    y_score = np.repeat([0.9, 0.9, 0.7, 0.6, 0.6], [10, 20, 6, 20, 4])
    curve = roc_by_group(y_true, y_score, np.repeat("A", 60))["tpr"]
    assert curve.to_list() == pytest.approx([0, 0.25, 0.8, 0.9, 1])


def test_no_step_rests_on_fewer_than_ten_negatives():
    y_true = np.array([1.0] * 40 + [0.0] * 57)
    curve = roc_by_group(y_true, np.linspace(1, 0, 97), np.repeat("A", 97))
    assert len(curve) == 1 + 5
    np.testing.assert_allclose(curve["tpr"], [0, 1, 1, 1, 1, 1])
    few = np.where(np.arange(97) < 9, 1.0, 0.0)
    assert roc_by_group(few, np.linspace(1, 0, 97), np.repeat("A", 97)).empty


def test_calibration_of_one_group_is_that_of_sklearn(images):
    y_true, y_score, _ = images
    labelled = ~np.isnan(y_true)
    found = calibration_by_group(y_true, y_score, np.repeat("A", 2600), 10)
    share, mean = calibration_curve(y_true[labelled], y_score[labelled], n_bins=10, strategy="quantile")
    # sums of some 255 float64 terms; no tenth of the 2,548 labelled images ends at an image, where both ways part
    np.testing.assert_allclose(found["mean_score"], mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["share_positive"], share, rtol=0, atol=1e-12)


def test_bins_of_fewer_than_ten_images_are_left_out(images):
    y_true, y_score, group = images
    found = calibration_by_group(*images, 10)
    table = pd.DataFrame({"y": y_true, "s": y_score, "group": group}).dropna()
    edges = np.quantile(y_score[~np.isnan(y_true)], np.arange(1, 10) / 10, method="higher")
    sizes = table.groupby(["group", np.searchsorted(edges, table["s"], side="right")]).size()
    assert len(found) == (sizes >= 10).sum() < len(sizes)
    assert calibration_by_group(np.full(3, np.nan), np.full(3, 0.5), ["A"] * 3, 10).empty
