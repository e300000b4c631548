import math

import numpy as np
import pytest
from scipy.stats import norm

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.resampling.patients import (
    COVERAGE,
    data_then_resamples,
    patient_weights,
    percentile_interval,
    resampling_rng,
)
from dpcxr_core.evaluation.statistics.auroc import auroc, weighted_aurocs

PATIENT_IDS = np.array(["b", "a", "b", "c", "a", "b", "d"], dtype=object)


def test_patients_enter_resamples_whole_and_as_many_as_there_are():
    weights = patient_weights(PATIENT_IDS, 50, np.random.default_rng(0))
    assert weights.shape == (50, 7)
    assert weights.dtype == np.uint16
    for patient in "abcd":
        of_patient = weights[:, patient == PATIENT_IDS]
        assert (of_patient == of_patient[:, :1]).all()
    first_images = [1, 0, 3, 6]
    assert (weights[:, first_images].sum(axis=1) == 4).all()


def test_patients_are_drawn_evenly_with_replacement():
    n_patients, n_resamples = 40, 5000
    weights = patient_weights(np.arange(n_patients), n_resamples, np.random.default_rng(20260101))

    def z_of_variance(weights):
        # a multiplicity is binomial(n, 1/n); its fourth central moment follows from its cumulants
        variance = 1 - 1 / n_patients
        fourth = variance * (1 + 3 * variance - 6 * variance / n_patients)
        squares = (weights[:, 0] - 1.0) ** 2
        return (squares.mean() - variance) / math.sqrt((fourth - variance**2) / n_resamples)

    z_of_means = (weights.mean(axis=0) - 1) / math.sqrt((1 - 1 / n_patients) / n_resamples)
    assert np.abs(z_of_means).max() < 5
    assert abs(z_of_variance(weights)) < 5
    # the mistake this test exists for: drawing without replacement
    assert abs(z_of_variance(np.ones_like(weights))) > 5


def test_resamples_depend_on_the_patients_seed_and_data_set_only():
    def weights_of(patient_ids, seed=5, dataset="north"):
        return patient_weights(patient_ids, 4, resampling_rng(seed, dataset))

    order = np.random.default_rng(0).permutation(len(PATIENT_IDS))
    np.testing.assert_array_equal(weights_of(PATIENT_IDS)[:, order], weights_of(PATIENT_IDS[order]))
    assert (weights_of(PATIENT_IDS) != weights_of(PATIENT_IDS, seed=6)).any()
    assert (weights_of(PATIENT_IDS) != weights_of(PATIENT_IDS, dataset="south")).any()


def test_the_first_row_is_the_data():
    weights = data_then_resamples(PATIENT_IDS, 3, np.random.default_rng(0))
    assert weights.shape == (4, 7)
    assert (weights[0] == 1).all()
    np.testing.assert_array_equal(weights[1:], patient_weights(PATIENT_IDS, 3, np.random.default_rng(0)))


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
            low, high, _ = percentile_interval(weighted_aurocs(y_true, y_score, patient_weights(ids, 150, rng)))
            n_covered[unit] += low <= truth <= high

    def z_of_coverage(unit):
        std = math.sqrt(COVERAGE * (1 - COVERAGE) / n_repeats)
        return (n_covered[unit] / n_repeats - COVERAGE) / std

    assert abs(z_of_coverage("patient")) < 5
    assert z_of_coverage("image") < -5  # the mistake this test exists for


def test_undefined_resamples_are_dropped_and_told_above_five_percent():
    resampled = np.arange(100.0)
    assert percentile_interval(resampled) == (*np.quantile(resampled, [0.025, 0.975]), "")
    resampled[:5] = np.nan
    assert percentile_interval(resampled) == (*np.quantile(np.arange(5.0, 100), [0.025, 0.975]), "")
    resampled[:40] = np.nan
    low, high, reason = percentile_interval(resampled)
    assert (low, high) == tuple(np.quantile(np.arange(40.0, 100), [0.025, 0.975]))
    assert reason == "40% of resamples undefined"
    low, high, reason = percentile_interval(np.full(3, np.nan))
    assert np.isnan([low, high]).all()
    assert reason == "100% of resamples undefined"


def test_auroc_of_few_patients_leaves_resamples_undefined():
    y_true, y_score = [1, 0, 0], [0.9, 0.1, 0.2]
    resampled = weighted_aurocs(y_true, y_score, patient_weights([1, 2, 3], 500, np.random.default_rng(0)))
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
        patient_weights(patient_ids, n_resamples, np.random.default_rng(0))


def test_negative_seed_is_refused():
    with pytest.raises(UserError, match="-1"):
        resampling_rng(-1, "north")
