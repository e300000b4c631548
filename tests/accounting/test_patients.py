import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import binom

from dpcxr_core.accounting import patients
from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.patients import (
    epsilon_of_group,
    epsilon_of_patient,
    noise_for_patient,
)
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.config import UserError

CHESTXRAY14 = {"sample_rate": 1024 / 86524, "n_steps": 2000, "delta": 6e-6}
SHORT = {"sample_rate": 0.1, "n_steps": 20, "delta": 1e-4}


@pytest.mark.parametrize(
    ("noise", "n_images", "tight", "formula"),
    [
        (2.193, 1, 1.0, 1.0),
        (2.193, 2, 2.14, 2.2),
        (2.193, 4, 4.70, 5.0),
        (2.193, 8, 10.73, 12.8),
        (1.036, 2, 6.64, 7.2),
    ],
)
def test_epsilon_of_patients_matches_values_computed_on_a_finer_grid(noise, n_images, tight, formula):
    """dp_accounting's event of Charles et al. (2024), arXiv:2407.07737, at an interval of 1e-3; Vadhan's formula."""
    assert epsilon_of_patient(noise, **CHESTXRAY14, n_images=n_images) == pytest.approx(tight, rel=6e-3)
    assert epsilon_of_group(noise, **CHESTXRAY14, n_images=n_images) == pytest.approx(formula, rel=2e-2)


@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_patient_with_one_image_has_the_epsilon_of_the_image(rate):
    expected = epsilon_pld(2.0, rate, 20, 1e-4)
    assert epsilon_of_patient(2.0, rate, 20, 1e-4, 1) == pytest.approx(expected, rel=5e-3)
    assert epsilon_of_group(2.0, rate, 20, 1e-4, 1) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize(("n_images", "n_steps"), [(1, 1), (3, 4), (10, 1), (184, 9)])
def test_where_all_images_enter_all_steps_the_closed_form_holds(n_images, n_steps):
    """With k images in every step the patient moves the sum by k clip norms: a Gaussian of 1/k of the noise."""
    noise = 2.0 * n_images
    exact = epsilon_gaussian(noise / n_images, n_steps, 1e-5)
    assert 0 <= epsilon_of_patient(noise, 1.0, n_steps, 1e-5, n_images) - exact < 2e-3 * exact


def _by_integration(noise, rate, delta, n_images):
    """Epsilon of one step, from both distributions on a fine grid of outcomes: no accountant, no loss grid."""
    edges = np.linspace(-12 * noise, n_images + 12 * noise, 400_001)
    chances = binom.pmf(np.arange(n_images + 1), n_images, rate)
    without = np.diff(ndtr(edges / noise))
    having = sum(chance * np.diff(ndtr((edges - moved) / noise)) for moved, chance in enumerate(chances))

    def worse_delta(epsilon):
        return max(
            np.maximum(first - math.exp(epsilon) * second, 0).sum()
            for first, second in ((having, without), (without, having))
        )

    return brentq(lambda epsilon: worse_delta(epsilon) - delta, 0, 50)


@settings(derandomize=True, deadline=None, max_examples=5)
@given(noise=st.floats(0.7, 5), rate=st.floats(0.01, 0.6), n_images=st.integers(1, 9))
def test_one_step_equals_direct_integration(noise, rate, n_images):
    exact = _by_integration(noise, rate, 1e-5, n_images)
    found = epsilon_of_patient(noise, rate, 1, 1e-5, n_images)
    assert exact * (1 - 1e-4) <= found <= exact * 1.02 + 1e-3


@settings(derandomize=True, deadline=None, max_examples=3)
@given(noise=st.floats(1.5, 6), n_images=st.integers(2, 6))
def test_epsilon_rises_with_images_and_falls_with_noise_and_is_below_the_formula(noise, n_images):
    found = epsilon_of_patient(noise, **SHORT, n_images=n_images)
    assert found > epsilon_of_patient(noise, **SHORT, n_images=n_images - 1)
    assert found > epsilon_of_patient(noise * 1.2, **SHORT, n_images=n_images)
    assert found <= epsilon_of_group(noise, **SHORT, n_images=n_images) * 1.005


def test_many_images_end_in_infinity_and_not_in_a_hang():
    assert epsilon_of_patient(1.036, **CHESTXRAY14, n_images=184) == math.inf
    assert epsilon_of_group(1.036, **CHESTXRAY14, n_images=184) == math.inf
    assert epsilon_of_patient(60.0, **SHORT, n_images=184) < 20  # many images alone are no reason


def test_formula_goes_on_where_pld_resolves_no_delta():
    """The delta needed of one image is 1e-19 here, where PLD stops at 1e-15: RDP takes over."""
    found = epsilon_of_group(2.193, **CHESTXRAY14, n_images=16)
    assert epsilon_of_patient(2.193, **CHESTXRAY14, n_images=16) < found < 100


@pytest.mark.parametrize("n_images", [1, 3])
def test_noise_for_patients_keeps_the_target_and_wastes_little(n_images):
    noise = noise_for_patient(target_epsilon=2.0, n_images=n_images, **SHORT)
    assert epsilon_of_patient(noise, **SHORT, n_images=n_images) <= 2.0
    assert epsilon_of_patient(noise * 0.985, **SHORT, n_images=n_images) > 2.0
    assert noise == round(noise, 4)


def test_noise_where_delta_pays_for_every_image_that_ever_enters_is_found_at_once():
    """Any noise keeps the target here, so that a search for the least would never end."""
    noise = noise_for_patient(target_epsilon=1.0, delta=1e-5, sample_rate=1e-8, n_steps=10, n_images=2)
    assert 0 < noise < 10
    assert epsilon_of_patient(1e-3, 1e-14, 10, 1e-5, 2) == pytest.approx(0, abs=1e-9)


# 200 patients with 1 image, 60 with 2 and 40 with 5: 300 patients with 520 images
PATIENTS = {1: 200, 2: 60, 5: 40}
DESIGN = {"target_epsilon": 3.0, "delta": 1e-4, "n_steps": 5, "patients_by_images": PATIENTS}


def test_images_beyond_the_limit_are_not_counted():
    assert [patients.images_within(PATIENTS, limit) for limit in (1, 2, 4, 5, 9)] == [300, 400, 480, 520, 520]


def test_with_one_image_a_patient_both_designs_are_the_same_mechanism():
    of_images, of_patients = patients.patient_designs(images_per_step=60, limits=(1,), **DESIGN)
    assert (of_images.sampled, of_patients.sampled) == ("images", "patients")
    for each in (of_images, of_patients):
        assert (each.sample_rate, each.divisor) == (0.2, 60)  # of 300 images, not of 520
        assert epsilon_pld(each.noise_multiplier, 0.2, 5, 1e-4) <= 3.0
    assert of_images.noise_multiplier == of_patients.noise_multiplier
    assert (of_images.images_used, of_patients.images_used) == (300, 520)


def test_designs_have_equal_images_in_a_step_on_average_and_keep_the_target():
    of_images, of_patients = patients.patient_designs(images_per_step=60, limits=(4,), **DESIGN)
    assert (of_images.sample_rate, of_images.divisor, of_images.images_used) == (60 / 480, 60, 480)
    assert epsilon_of_patient(of_images.noise_multiplier, 60 / 480, 5, 1e-4, 4) <= 3.0
    assert epsilon_of_patient(of_images.noise_multiplier * 0.98, 60 / 480, 5, 1e-4, 4) > 3.0
    # a patient brings 480 / 300 images on average; 60 images need 37.5 patients
    assert (of_patients.divisor, of_patients.sample_rate) == (38, 38 / 300)
    assert abs(of_patients.divisor * 480 / 300 - 60) < 480 / 300
    assert 2.97 < epsilon_pld(of_patients.noise_multiplier, 38 / 300, 5, 1e-4) <= 3.0
    assert of_patients.noise_on_mean == of_patients.noise_multiplier / 38


def test_limits_that_leave_too_few_images_are_left_out_and_unknown_patients_refused(monkeypatch):
    monkeypatch.setattr(patients, "noise_for_patient", lambda **_: 1.0)
    monkeypatch.setattr(patients, "calibrate_noise_multiplier", lambda **_: 1.0)
    found = patients.patient_designs(images_per_step=450, limits=(1, 2, 4), **DESIGN)
    assert [(each.sampled, each.images_per_patient) for each in found] == [("images", 4), ("patients", 4)]
    assert all(each.sample_rate <= 1 for each in found)
    for nothing in ({}, {0: 3}):
        with pytest.raises(UserError, match="patients_by_images must count"):
            patients.patient_designs(images_per_step=60, **DESIGN | {"patients_by_images": nothing})


@pytest.mark.parametrize("n_images", [0, -1, 1.5])
def test_images_of_a_patient_are_counted(n_images):
    for function in (epsilon_of_patient, epsilon_of_group):
        with pytest.raises(UserError, match="n_images of a patient"):
            function(1.0, **SHORT, n_images=n_images)
    with pytest.raises(UserError, match="sample_rate"):
        epsilon_of_patient(1.0, 32, 10, 1e-5, 2)
