import math
from dataclasses import asdict, replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.calibration_check import RESULT, check, random_settings
from dpcxr_core.accounting import calibration
from dpcxr_core.accounting.calibration import calibrate_noise_multiplier, least_noise, specification_for
from dpcxr_core.accounting.deadline import TooSlowError
from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.config import UserError

STUDY = {"delta": 6e-6, "sample_rate": 1024 / 86524, "n_steps": 2000}


@pytest.mark.parametrize(("target", "golden"), [(0.9, 2.391), (2.9, 1.0552), (8.0, 0.6883)])
def test_noise_multiplier_matches_the_values_of_the_study(target, golden):
    """Computed apart with dp_accounting on other grids of the privacy loss; hence 0.002."""
    assert calibrate_noise_multiplier(target_epsilon=target, **STUDY) == pytest.approx(golden, abs=2e-3)


@settings(derandomize=True, deadline=None, max_examples=4)
@given(target=st.floats(0.2, 4), rate=st.floats(0.01, 0.2), n_steps=st.integers(50, 500))
def test_calibrated_noise_never_spends_more_than_the_target_and_wastes_little(target, rate, n_steps):
    noise = calibrate_noise_multiplier(target_epsilon=target, delta=1e-5, sample_rate=rate, n_steps=n_steps)
    assert noise == round(noise, 4)
    assert epsilon_pld(noise, rate, n_steps, 1e-5) <= target
    assert epsilon_pld(noise * 0.99, rate, n_steps, 1e-5) > target


def test_calibration_matches_the_closed_form_without_sampling():
    noise = calibrate_noise_multiplier(target_epsilon=3.0, delta=1e-5, sample_rate=1.0, n_steps=16)
    assert epsilon_gaussian(noise, 16, 1e-5) <= 3.0
    assert epsilon_gaussian(noise - 1e-3, 16, 1e-5) > 3.0


def test_small_target_is_reached_and_an_impossible_one_says_why():
    noise = calibrate_noise_multiplier(target_epsilon=0.05, **STUDY)
    assert noise == pytest.approx(32.1, abs=0.1)
    assert epsilon_pld(noise, STUDY["sample_rate"], STUDY["n_steps"], STUDY["delta"]) <= 0.05
    with pytest.raises(UserError, match=r"epsilon is still 0\.004"):
        calibrate_noise_multiplier(target_epsilon=1e-4, **STUDY)


def test_time_limit_gives_a_message_between_evaluations():
    with pytest.raises(TooSlowError, match="time limit of 1e-09 seconds"):
        calibrate_noise_multiplier(target_epsilon=0.9, **STUDY, time_limit=1e-9)


def test_run_that_delta_covers_takes_the_noise_of_rdp():
    """Five steps at rate 1e-4 touch a unit with a chance of 5e-4, below delta: any noise would do, even none."""
    noise = calibrate_noise_multiplier(target_epsilon=1.0, delta=1e-3, sample_rate=1e-4, n_steps=5)
    assert 0.5 < noise < 0.55  # what RDP asks for
    assert epsilon_pld(noise, 1e-4, 5, 1e-3) == 0.0


def test_search_ends_where_less_noise_could_not_be_accounted_for(monkeypatch):
    monkeypatch.setattr(calibration, "pld_at_interval", lambda *values: 0.0)
    monkeypatch.setattr(calibration, "epsilon_pld", lambda *values: 0.0)
    noise = calibrate_noise_multiplier(target_epsilon=1.0, delta=1e-5, sample_rate=0.1, n_steps=5)
    assert calibration.epsilon_rdp(noise, 0.1, 5, 1e-5) <= 100 < calibration.epsilon_rdp(0.8 * noise, 0.1, 5, 1e-5)


@pytest.mark.slow
def test_random_settings_stay_within_their_targets_and_the_accountants_agree():
    """The first five of the 200 of ``python -m benchmarks.calibration_check``; certify refuses disagreement."""
    settings = random_settings(200)
    assert len({each.target_epsilon for each in settings}) == 200
    for each in settings[:5]:
        found = check(each)
        assert found["epsilon_pld"] <= each.target_epsilon
        assert found["epsilon_pld"] > 0.98 * each.target_epsilon


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf, 1000.0])
def test_target_out_of_range_is_refused(target):
    with pytest.raises(UserError, match="target_epsilon"):
        calibrate_noise_multiplier(target_epsilon=target, **STUDY)


def test_stored_check_of_200_random_settings_kept_every_target_and_no_claim_was_below_its_bracket():
    """The settings are drawn here again, so that the stored table cannot be of others."""
    table = pd.read_csv(RESULT)
    drawn = pd.DataFrame([asdict(each) for each in random_settings(200)])
    assert len(table) == 200
    for name in drawn:
        assert table[name].to_numpy() == pytest.approx(drawn[name].to_numpy(), rel=1e-6)
    assert (table["epsilon_pld"] <= table["target_epsilon"]).all()
    assert (table["epsilon_pld"] > 0.98 * table["target_epsilon"]).all()
    bracketed = table.dropna(subset=["epsilon_prv"])
    assert len(bracketed) > 100
    assert table.loc[table["epsilon_prv"].isna(), "missing_because"].notna().all()
    assert (bracketed["epsilon_pld"] >= bracketed["epsilon_prv_low"] * (1 - 1e-4)).all()
    assert (bracketed["epsilon_pld"] <= 1.01 * bracketed["epsilon_prv"] + 0.001).all()


# Epsilon by the ratio of the noise to the least that keeps a target of 1.
CURVES = {
    "power": lambda ratio: ratio**-1.3,
    "bent": lambda ratio: ratio**-40 if ratio < 1 else ratio**-0.1,
    "bent the other way": lambda ratio: ratio**-0.1 if ratio < 1 else ratio**-40,
    "step": lambda ratio: 50.0 if ratio < 1 else 0.5,
    "infinite": lambda ratio: math.inf if ratio < 1 else 0.0,
}


@settings(derandomize=True, deadline=None)
@given(least=st.integers(1, 20_000_000), curve=st.sampled_from(sorted(CURVES)))
def test_least_noise_is_the_first_of_four_decimals_that_is_within_and_was_tried(least, curve):
    tried = []

    def epsilon_of(noise):
        tried.append(noise)
        return CURVES[curve](noise / (least / 10_000))

    found = least_noise(epsilon_of, 1.0, 1e3)
    assert found == (least / 10_000 if least <= 10_000_000 else math.inf)
    assert math.isinf(found) or found in tried
    assert max(tried) <= 1e3
    # At most 14 halvings or doublings of 1 end in a bracket no wider than what is sought; at most three tries halve it.
    assert len(tried) == len(set(tried)) <= 16 + 3 * (1 + math.log2(least))


def test_least_noise_is_found_in_few_tries_where_epsilon_is_a_power_of_it():
    tried = []

    def epsilon_of(noise):
        tried.append(noise)
        return 3.0 / noise**1.3

    assert least_noise(epsilon_of, 1.7, 1e3) == math.ceil((3 / 1.7) ** (1 / 1.3) * 1e4) / 1e4
    assert len(tried) < 2 + math.log2(10_000) / 2  # half of what halving takes between 1 and 2, beside these two


def test_run_too_long_to_account_for_is_refused():
    with pytest.raises(UserError, match="n_steps must be at most 1000000.*got 100000000"):
        calibrate_noise_multiplier(target_epsilon=1.0, delta=1e-5, sample_rate=1e-3, n_steps=10**8)


def test_other_values_out_of_range_are_refused():
    with pytest.raises(UserError, match="delta"):
        calibrate_noise_multiplier(target_epsilon=1.0, delta=0.0, sample_rate=0.1, n_steps=10)
    with pytest.raises(UserError, match="sample_rate"):
        calibrate_noise_multiplier(target_epsilon=1.0, delta=1e-5, sample_rate=64, n_steps=10)
    with pytest.raises(UserError, match="no noise multiplier"):
        calibrate_noise_multiplier(target_epsilon=1e-9, delta=1e-12, sample_rate=1.0, n_steps=10**6)


def test_specification_takes_its_rate_from_batch_and_units():
    made = specification_for(
        target_epsilon=3.0, delta=1e-4, n_units=1499, expected_batch_size=64, n_steps=60, max_grad_norm=0.5
    )
    assert made.sample_rate == 64 / 1499
    assert (made.expected_batch_size, made.n_steps, made.max_grad_norm, made.delta) == (64, 60, 0.5, 1e-4)
    assert epsilon_pld(made.noise_multiplier, made.sample_rate, made.n_steps, made.delta) <= 3.0


def test_specification_for_patients_counts_them_and_needs_the_same_noise_as_so_many_images():
    values = {"target_epsilon": 3.0, "delta": 1e-4, "expected_batch_size": 64, "n_steps": 60, "max_grad_norm": 0.5}
    images = specification_for(n_units=500, **values)
    patients = specification_for(
        n_units=500, privacy_unit="patient", max_images_per_patient=4, clipping="automatic", **values
    )
    assert replace(patients, privacy_unit="image", max_images_per_patient=None, clipping="flat") == images
    assert specification_for(n_units=2000, **values).noise_multiplier < images.noise_multiplier


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"privacy_unit": "patient"}, "max_images_per_patient of at least 1; got None"),
        ({"privacy_unit": "patient", "max_images_per_patient": 0}, "got 0"),
        ({"max_images_per_patient": 4}, "belongs to privacy_unit 'patient'"),
        ({"privacy_unit": "hospital"}, "'image' or 'patient'"),
        ({"clipping": "psac"}, "one of flat, automatic, none; got 'psac'"),
    ],
)
def test_wrong_choice_of_unit_is_refused_before_the_search(choice, named, monkeypatch):
    monkeypatch.setattr(calibration, "calibrate_noise_multiplier", None)
    with pytest.raises(UserError, match=named):
        specification_for(
            target_epsilon=3.0,
            delta=1e-4,
            n_units=500,
            expected_batch_size=64,
            n_steps=60,
            max_grad_norm=0.5,
            **choice,
        )


@pytest.mark.parametrize(("n_units", "batch"), [(100, 101), (100, 0), (0, 1)])
def test_batch_larger_than_the_data_is_refused(n_units, batch):
    with pytest.raises(UserError, match="n_units|expected_batch_size"):
        specification_for(
            target_epsilon=3.0,
            delta=1e-4,
            n_units=n_units,
            expected_batch_size=batch,
            n_steps=60,
            max_grad_norm=0.5,
        )
