import numpy as np
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
    return y_true, y_score, group, np.arange(2600)


def test_the_area_under_a_curve_is_the_aurocs_to_the_width_of_a_step(images):
    y_true, y_score, group, _ = images
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
    curve = roc_by_group(y_true, y_score, np.repeat("A", 60), np.arange(60))["tpr"]
    assert curve.to_list() == pytest.approx([0, 0.25, 0.8, 0.9, 1])


def test_no_step_rests_on_fewer_than_ten_negatives():
    y_true = np.array([1.0] * 40 + [0.0] * 57)
    curve = roc_by_group(y_true, np.linspace(1, 0, 97), np.repeat("A", 97), np.arange(97))
    assert len(curve) == 1 + 5
    np.testing.assert_allclose(curve["tpr"], [0, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(("n_positive", "n_patients", "shown"), [(9, 97, False), (40, 9, False), (40, 97, True)])
def test_groups_of_few_positives_or_patients_have_no_curve(n_positive, n_patients, shown):
    y_true = np.where(np.arange(97) < n_positive, 1.0, 0.0)
    images = y_true, np.linspace(1, 0, 97), np.repeat("A", 97), np.arange(97) % n_patients
    assert roc_by_group(*images).empty is not shown
    assert calibration_by_group(*images, 4).empty is not shown


def test_calibration_of_one_group_is_that_of_sklearn():
    rng = np.random.default_rng(0)
    y_score = rng.uniform(0.2, 0.8, 2600)
    y_true = (rng.random(2600) < y_score).astype(float)
    y_true[::50] = np.nan
    labelled = ~np.isnan(y_true)
    found = calibration_by_group(y_true, y_score, np.repeat("A", 2600), np.arange(2600), 10)
    share, mean = calibration_curve(y_true[labelled], y_score[labelled], n_bins=10, strategy="quantile")
    # sums of some 255 float64 terms; no tenth of the 2,548 labelled images ends at an image, where both ways part
    np.testing.assert_allclose(found["mean_score"], mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["share_positive"], share, rtol=0, atol=1e-12)


def test_bins_of_few_positives_or_negatives_are_joined_to_their_neighbours():
    """In each group ten bins of 100 images, with 30 down to 0 positives, and with 100 in the last bin."""
    positives = np.array([30, 12, 4, 5, 6, 0, 9, 2, 3, 100])
    y_true = np.concatenate([np.arange(100) < n for n in positives]).astype(float)
    y_score = np.linspace(0, 1, 1000)
    found = calibration_by_group(y_true, y_score, np.repeat("A", 1000), np.arange(1000), 10)
    # 4 + 5 + 6, 0 + 9 + 2; then 3, with the last bin, that has no negative: 2 + 1 bins with those before
    assert found["share_positive"].to_list() == pytest.approx([0.3, 0.12, 15 / 300, 11 / 300, 103 / 200])
    assert calibration_by_group(np.full(3, np.nan), np.full(3, 0.5), ["A"] * 3, np.arange(3), 10).empty


def test_what_no_bin_takes_joins_the_last():
    y_true = np.concatenate([np.arange(100) < n for n in (50, 40, 3)]).astype(float)
    found = calibration_by_group(y_true, np.linspace(0, 1, 300), np.repeat("A", 300), np.arange(300), 3)
    assert found["share_positive"].to_list() == pytest.approx([0.5, 43 / 200])
