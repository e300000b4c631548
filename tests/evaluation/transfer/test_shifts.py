import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, roc_auc_score

from dpcxr_core.evaluation.resampling.intervals import COVERAGE, percentile_interval
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.evaluation.transfer.shifts import (
    hospitals_apart,
    ppv_and_f1,
    prevalence,
    prevalence_shift,
    reading_of_shift,
)
from dpcxr_core.evaluation.transfer.transported import operating_point

CUT = 0.68


def test_prevalence_is_the_share_of_positives_in_every_resample(simulate):
    scores = simulate(n=60, n_resamples=7)
    expected = [np.average(scores.y_true, weights=weights) for weights in scores.weights]
    np.testing.assert_allclose(prevalence(scores), expected)


def test_ppv_and_f1_at_another_prevalence_are_those_of_images_weighted_to_it(simulate):
    scores = simulate(n=400, prevalence=0.3)
    point = {name: draws[:1] for name, draws in operating_point(scores, CUT).items()}
    share = scores.y_true.mean()
    weights = np.where(scores.y_true == 1, 0.05 / share, 0.95 / (1 - share))
    found = ppv_and_f1(point["tpr"], point["fpr"], np.array([0.05]))
    oracle = {"y_true": scores.y_true, "y_pred": scores.y_score >= CUT, "sample_weight": weights}
    assert found["ppv"][0] == pytest.approx(precision_score(**oracle), abs=1e-12)
    assert found["f1"][0] == pytest.approx(f1_score(**oracle), abs=1e-12)


def test_nothing_predicted_leaves_ppv_undefined():
    none = ppv_and_f1(np.zeros(1), np.zeros(1), np.array([0.2]))
    assert np.isnan(none["ppv"][0])
    assert none["f1"][0] == 0


def test_the_parts_add_up_to_the_change(simulate):
    parts = prevalence_shift(simulate(), simulate(seed=3, prevalence=0.1, signal=0.8), CUT)
    for metric in ("ppv", "f1"):
        change = parts[metric, "from prevalence"] + parts[metric, "left over"]
        np.testing.assert_allclose(change, parts[metric, "abroad"] - parts[metric, "at home"], atol=1e-12)
    np.testing.assert_allclose(
        parts["prevalence", "difference"], parts["prevalence", "abroad"] - parts["prevalence", "at home"]
    )


def test_where_only_prevalence_differs_nothing_is_left_over_and_no_class_shifts(simulate):
    home = simulate(n=40_000, prevalence=0.4, n_resamples=60)
    abroad = simulate(n=40_000, prevalence=0.1, n_resamples=60, seed=7)
    parts, apart = prevalence_shift(home, abroad, CUT), hospitals_apart(home, abroad)

    def z(draws, expected=0.0):
        return (draws[0] - expected) / draws[1:].std()

    assert abs(z(parts["ppv", "left over"])) < 5
    assert abs(z(parts["f1", "left over"])) < 5
    assert z(parts["ppv", "from prevalence"]) < -5
    assert max(abs(z(draws, 0.5)) for draws in apart.values()) < 5
    # the mistake this test exists for: hospitals compared without regard to the labels
    is_abroad = np.repeat([0.0, 1.0], 40_000)
    pooled = np.concatenate([home.y_score, abroad.y_score])
    weights = np.concatenate([home.weights, abroad.weights], axis=1)
    assert abs(z(weighted_aurocs(is_abroad, pooled, weights), 0.5)) > 5


def test_hospitals_apart_is_an_auroc_between_hospitals_within_a_class(simulate):
    home, abroad = simulate(n=90, n_resamples=4), simulate(n=70, moved=0.7, seed=9, n_resamples=4)
    apart = hospitals_apart(home, abroad)
    for name, label in (("positives", 1), ("negatives", 0)):
        here, there = home.y_true == label, abroad.y_true == label
        is_abroad = np.repeat([0, 1], [here.sum(), there.sum()])
        pooled = np.concatenate([home.y_score[here], abroad.y_score[there]])
        for row in range(5):
            weights = np.concatenate([home.weights[row, here], abroad.weights[row, there]])
            assert apart[name][row] == pytest.approx(roc_auc_score(is_abroad, pooled, sample_weight=weights), abs=1e-12)


def test_intervals_by_patient_cover_where_intervals_by_image_do_not(simulate, make_resampled):
    n_repeats = 200
    covered = {"patient": 0, "image": 0}
    for repeat in range(n_repeats):
        pair = [
            simulate(n=400, images_per_patient=5, prevalence=share, n_resamples=100, seed=2 * repeat + offset)
            for offset, share in ((0, 0.4), (100_000, 0.2))
        ]
        by_image = [
            make_resampled(each.y_true, each.y_score, n_resamples=100, seed=repeat + place)
            for place, each in enumerate(pair)
        ]
        for unit, (home, abroad) in (("patient", pair), ("image", by_image)):
            low, high, _ = percentile_interval(hospitals_apart(home, abroad)["negatives"][1:])
            covered[unit] += low <= 0.5 <= high
    std = math.sqrt(COVERAGE * (1 - COVERAGE) / n_repeats)
    assert abs(covered["patient"] / n_repeats - COVERAGE) / std < 5
    assert (covered["image"] / n_repeats - COVERAGE) / std < -5  # the mistake this test exists for


@pytest.mark.parametrize(
    ("positives", "negatives", "words"),
    [
        ("not distinguishable", "not distinguishable", "prevalence alone"),
        ("above", "above", "all scores are higher"),
        ("below", "below", "all scores are lower"),
        ("below", "not distinguishable", "move together"),
        ("below", "above", "move together"),
        ("not distinguishable", "below", "move apart"),
        ("above", "undefined", "move apart"),
    ],
)
def test_readings_name_what_could_do_it(positives, negatives, words):
    assert words in reading_of_shift(positives, negatives)
