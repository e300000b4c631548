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
    """privacy.md section 4, with dp_accounting at an interval of 1e-3."""
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


def test_designs_have_equal_images_in_a_step_and_the_noise_of_their_unit(monkeypatch):
    monkeypatch.setattr(patients, "noise_for_patient", lambda *, n_images, sample_rate, **_: 10 * n_images)
    monkeypatch.setattr(patients, "calibrate_noise_multiplier", lambda *, sample_rate, **_: 7 + sample_rate)
    values = {"target_epsilon": 3.0, "delta": 1e-4, "n_steps": 20}
    found = patients.patient_designs(n_images=1000, n_patients=300, images_per_step=60, limits=(1, 4, 7), **values)
    assert [(each.sampled, each.images_per_patient, each.divisor, each.noise_multiplier) for each in found] == [
        ("images", 1, 60, 10),
        ("images", 4, 60, 40),
        ("images", 7, 60, 70),
        ("patients", 1, 60, 7.2),
        ("patients", 4, 15, 7.05),  # 7 does not divide 60
    ]
    assert [each.sample_rate for each in found] == [0.06] * 3 + [0.2, 0.05]
    assert found[-1].noise_on_mean == 7.05 / 15
    few = patients.patient_designs(n_images=50, n_patients=20, images_per_step=60, limits=(4,), **values)
    assert [(each.sampled, each.sample_rate) for each in few] == [("patients", 0.75)]


@pytest.mark.parametrize("n_images", [0, -1, 1.5])
def test_images_of_a_patient_are_counted(n_images):
    for function in (epsilon_of_patient, epsilon_of_group):
        with pytest.raises(UserError, match="n_images of a patient"):
            function(1.0, **SHORT, n_images=n_images)
    with pytest.raises(UserError, match="sample_rate"):
        epsilon_of_patient(1.0, 32, 10, 1e-5, 2)
