import math

import numpy as np
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.representation.geometry import effective_dimension, effective_dimensions_left_out
from dpcxr_core.evaluation.representation.jackknife import jackknife_groups, jackknife_interval
from dpcxr_core.evaluation.resampling.intervals import COVERAGE, percentile_interval

N_REPEATS, N_GROUPS = 300, 30


def _interval(embeddings, ids, rng):
    left_out = effective_dimensions_left_out(embeddings, jackknife_groups(ids, N_GROUPS, rng))
    return jackknife_interval(effective_dimension(embeddings), left_out)


def _bootstrap_interval(embeddings, ids, rng):
    """The named wrong version: percentiles over resamples that hold patients twice."""
    images = [np.flatnonzero(ids == patient) for patient in range(ids.max() + 1)]
    resampled = [
        effective_dimension(
            embeddings[np.concatenate([images[p] for p in rng.integers(len(images), size=len(images))])]
        )
        for _ in range(40)
    ]
    return percentile_interval(resampled)[:2]


def _gaussian(variances, n_patients, per_patient, alike, rng):
    """Images of patients that share ``alike`` of each variance."""
    ids = np.repeat(np.arange(n_patients), per_patient)
    of_patient = rng.normal(size=(n_patients, len(variances)))[ids]
    of_image = rng.normal(size=of_patient.shape)
    return (math.sqrt(alike) * of_patient + math.sqrt(1 - alike) * of_image) * np.sqrt(variances), ids


def _z(n_covered):
    return (n_covered / N_REPEATS - COVERAGE) / math.sqrt(COVERAGE * (1 - COVERAGE) / N_REPEATS)


def test_groups_hold_whole_patients_evenly():
    ids = np.random.default_rng(0).integers(25, size=300).astype(str)
    groups = jackknife_groups(ids, 10, np.random.default_rng(1))
    of_patient = {patient: set(groups[ids == patient]) for patient in set(ids)}
    assert all(len(found) == 1 for found in of_patient.values())
    sizes = np.bincount([found.pop() for found in of_patient.values()])
    assert sizes.tolist() == [3] * 5 + [2] * 5
    np.testing.assert_array_equal(
        np.unique(jackknife_groups(ids[:6], 100, np.random.default_rng(1))), range(len(set(ids[:6])))
    )


def test_one_patient_is_refused():
    with pytest.raises(UserError, match="two groups"):
        jackknife_groups(["a", "a"], 30, np.random.default_rng(0))


def test_a_mean_is_left_as_it_is_and_has_its_standard_error():
    values = np.random.default_rng(0).normal(size=40)
    left_out = np.array([np.delete(values, i).mean() for i in range(40)])
    value, low, high = jackknife_interval(values.mean(), left_out)
    assert value == pytest.approx(values.mean())
    # 2.0227 is Student's t of 39 degrees of freedom
    assert (high - low) / 2 == pytest.approx(2.0227 * values.std(ddof=1) / math.sqrt(40), rel=1e-4)


def test_the_bias_of_a_variance_with_n_for_n_minus_one_is_removed_exactly():
    values = np.random.default_rng(0).normal(size=12)
    left_out = np.array([np.delete(values, i).var() for i in range(12)])
    assert jackknife_interval(values.var(), left_out)[0] == pytest.approx(values.var(ddof=1))


def test_a_group_without_a_value_leaves_none():
    assert np.isnan(jackknife_interval(1.0, np.array([1.0, np.nan, 2.0]))).all()


def test_interval_covers_the_dimension_of_patients_with_several_images():
    """A falling spectrum; groups of images in place of patients are the mistake."""
    rng = np.random.default_rng(20260101)
    variances = 1 / np.arange(1, 21) ** 1.5
    truth = variances.sum() ** 2 / (variances**2).sum()
    n_covered = {"patient": 0, "image": 0}
    for _ in range(N_REPEATS):
        embeddings, ids = _gaussian(variances, 100, 4, 0.9, rng)
        for unit, of_unit in (("patient", ids), ("image", np.arange(len(ids)))):
            _, low, high = _interval(embeddings, of_unit, rng)
            n_covered[unit] += low <= truth <= high
    assert abs(_z(n_covered["patient"])) < 5
    assert _z(n_covered["image"]) < -5


def test_k_equal_directions_are_found_where_resampling_misses_them():
    """Every estimate of equal eigenvalues is too small; resamples, with fewer patients each, are smaller still."""
    rng, k = np.random.default_rng(20260101), 12
    plain, corrected, n_covered = [], [], {"jackknife": 0, "bootstrap": 0}
    for _ in range(N_REPEATS // 3):
        embeddings, ids = _gaussian(np.ones(k), 300, 1, 0.0, rng)
        value, low, high = _interval(embeddings, ids, rng)
        plain.append(effective_dimension(embeddings))
        corrected.append(value)
        n_covered["jackknife"] += 3 * (low <= k <= high)
        low, high = _bootstrap_interval(embeddings, ids, rng)
        n_covered["bootstrap"] += 3 * (low <= k <= high)
    assert np.mean(plain) == pytest.approx(k / (1 + k / 300), rel=0.01)
    # what is left of the bias is of second order, (k / 300)^2
    assert np.mean(corrected) == pytest.approx(k, rel=0.005)
    assert _z(n_covered["jackknife"]) > -5
    assert _z(n_covered["bootstrap"]) < -5
