import math

import numpy as np
import pytest
from scipy.stats import norm

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.resampling import patients
from dpcxr_core.evaluation.resampling.intervals import COVERAGE, percentile_interval
from dpcxr_core.evaluation.resampling.patients import (
    by_image_weights,
    image_weights,
    of_images,
    resamples_of,
    resampling_rng,
    weighted_sums,
)
from dpcxr_core.evaluation.statistics.auroc import auroc, weighted_aurocs

PATIENT_IDS = np.array(["b", "a", "b", "c", "a", "b", "d"], dtype=object)


def _one_stratum(patient_ids, n_resamples, rng):
    return resamples_of(patient_ids, np.zeros(len(patient_ids)), n_resamples, rng)


def test_the_first_row_is_the_data_and_patients_enter_the_others_whole():
    resamples = _one_stratum(PATIENT_IDS, 50, np.random.default_rng(0))
    assert resamples.weights.shape == (51, 4)
    assert resamples.weights.dtype == np.uint16
    assert (resamples.weights[0] == 1).all()
    assert (resamples.weights.sum(axis=1) == 4).all()
    of_each_image = image_weights(resamples)
    for column, patient in enumerate("abcd"):
        np.testing.assert_array_equal(
            of_each_image[:, patient == PATIENT_IDS], resamples.weights[:, [column] * (patient == PATIENT_IDS).sum()]
        )


def _z_of_means_and_variances(weights, n_drawn):
    """How far multiplicities lie from binomial(n, 1/n), in standard errors."""
    n_resamples = len(weights)
    variance = 1 - 1 / n_drawn
    # the fourth central moment follows from the cumulants
    fourth = variance * (1 + 3 * variance - 6 * variance / n_drawn)
    z_of_means = (weights.mean(axis=0) - 1) / math.sqrt(variance / n_resamples)
    squares = (weights - 1.0) ** 2
    z_of_variances = (squares.mean(axis=0) - variance) / math.sqrt((fourth - variance**2) / n_resamples)
    return max(np.abs(z_of_means).max(), np.abs(z_of_variances).max())


def test_patients_are_drawn_evenly_with_replacement_within_their_stratum():
    sizes = {"young": 7, "old": 30, "unknown": 1}
    strata = np.random.default_rng(1).permutation(np.repeat(list(sizes), list(sizes.values())))
    weights = resamples_of(np.arange(38), strata, 5000, np.random.default_rng(20260101)).weights[1:]
    for stratum, size in sizes.items():
        inside = weights[:, strata == stratum]
        assert (inside.sum(axis=1) == size).all()
        if size > 1:
            assert _z_of_means_and_variances(inside, size) < 5
            # the mistakes this test exists for: drawing without replacement, or from all strata at once
            assert _z_of_means_and_variances(np.ones_like(inside), size) > 5
    at_once = _one_stratum(np.arange(38), 5000, np.random.default_rng(20260101)).weights[1:]
    assert (at_once[:, strata == "young"].sum(axis=1) != 7).any()


def test_a_patient_belongs_to_the_stratum_of_the_first_image():
    strata = np.array(["young", "old", "old", "old", "old", "old", "young"])
    weights = resamples_of(PATIENT_IDS, strata, 200, np.random.default_rng(0)).weights
    assert (weights[:, [1, 3]].sum(axis=1) == 2).all()  # b and d
    assert (weights[:, [0, 2]].sum(axis=1) == 2).all()  # a and c
    assert (weights[:, [0, 1]].sum(axis=1) != 2).any()


def test_resamples_depend_on_the_patients_seed_and_data_set_only():
    def weights_of(patient_ids, seed=5, dataset="north"):
        return image_weights(_one_stratum(patient_ids, 4, resampling_rng(seed, dataset)))

    order = np.random.default_rng(0).permutation(len(PATIENT_IDS))
    np.testing.assert_array_equal(weights_of(PATIENT_IDS)[:, order], weights_of(PATIENT_IDS[order]))
    assert (weights_of(PATIENT_IDS) != weights_of(PATIENT_IDS, seed=6)).any()
    assert (weights_of(PATIENT_IDS) != weights_of(PATIENT_IDS, dataset="south")).any()


def test_weighted_sums_are_sums_over_the_repeated_images(monkeypatch):
    rng = np.random.default_rng(3)
    features = rng.integers(-50, 50, (7, 3))
    resamples = _one_stratum(PATIENT_IDS, 20, rng)
    repeated = [np.repeat(features, weights, axis=0).sum(axis=0) for weights in image_weights(resamples)]
    np.testing.assert_array_equal(weighted_sums(resamples, features), repeated)
    monkeypatch.setattr(patients, "_CHUNK_ENTRIES", 12)  # three rows at a time
    np.testing.assert_array_equal(weighted_sums(resamples, features), repeated)


def test_some_images_keep_the_draws_of_their_patients():
    resamples = _one_stratum(PATIENT_IDS, 20, np.random.default_rng(0))
    some = PATIENT_IDS != "a"
    features = np.arange(7)[:, np.newaxis]
    np.testing.assert_array_equal(
        weighted_sums(of_images(resamples, some), features[some]), weighted_sums(resamples, features * some[:, None])
    )
    np.testing.assert_array_equal(image_weights(of_images(resamples, some)), image_weights(resamples)[:, some])


def test_a_statistic_of_image_weights_meets_every_row_in_order(monkeypatch):
    resamples = _one_stratum(PATIENT_IDS, 20, np.random.default_rng(0))
    expected = image_weights(resamples) @ np.arange(7)
    monkeypatch.setattr(patients, "_CHUNK_ENTRIES", 21)  # three rows at a time
    shapes = []

    def statistic(weights):
        shapes.append(weights.shape)
        return weights @ np.arange(7)

    np.testing.assert_array_equal(by_image_weights(resamples, statistic), expected)
    assert shapes == [(3, 7)] * 7


def test_interval_by_patient_covers_where_an_interval_by_image_does_not():
    """Scores of one patient's images correlate at 0.9, as in follow-up series."""
    rng = np.random.default_rng(20260101)
    n_repeats, n_patients, images_per_patient, shift = 300, 80, 6, 1.0
    truth = norm.cdf(shift / math.sqrt(2))
    patient_ids = np.repeat(np.arange(n_patients), images_per_patient)
    image_ids = np.arange(patient_ids.size)
    n_covered = {"patient": 0, "image": 0}
    for _ in range(n_repeats):
        y_true = (np.arange(n_patients) < n_patients // 2)[patient_ids].astype(float)
        of_patient = rng.normal(scale=math.sqrt(0.9), size=n_patients)[patient_ids]
        y_score = shift * y_true + of_patient + rng.normal(scale=math.sqrt(0.1), size=patient_ids.size)
        for unit, ids in (("patient", patient_ids), ("image", image_ids)):
            resamples = _one_stratum(ids, 150, rng)
            drawn = weighted_aurocs(y_true, y_score, resamples.weights[1:], resamples.patient_of_image)
            low, high, _ = percentile_interval(drawn)
            n_covered[unit] += low <= truth <= high

    def z_of_coverage(unit):
        std = math.sqrt(COVERAGE * (1 - COVERAGE) / n_repeats)
        return (n_covered[unit] / n_repeats - COVERAGE) / std

    assert abs(z_of_coverage("patient")) < 5
    assert z_of_coverage("image") < -5  # the mistake this test exists for


def test_auroc_of_few_patients_leaves_resamples_undefined():
    y_true, y_score = [1, 0, 0], [0.9, 0.1, 0.2]
    resamples = _one_stratum([1, 2, 3], 500, np.random.default_rng(0))
    resampled = weighted_aurocs(y_true, y_score, resamples.weights[1:])
    # no positive with chance (2/3)^3, no negative with chance (1/3)^3: a third in all
    n_undefined = np.isnan(resampled).sum()
    assert abs(n_undefined - 500 / 3) < 5 * math.sqrt(500 * 2 / 9)
    assert auroc(y_true, y_score) == 1


@pytest.mark.parametrize(
    ("patient_ids", "n_resamples", "named"),
    [(["a"], 0, "0"), ([], 5, "at least one"), (["a", None], 5, "every")],
)
def test_impossible_resampling_is_refused(patient_ids, n_resamples, named):
    with pytest.raises(UserError, match=named):
        _one_stratum(patient_ids, n_resamples, np.random.default_rng(0))
