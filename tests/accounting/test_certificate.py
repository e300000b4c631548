import json
from dataclasses import asdict, replace

import pytest

from dpcxr_core.accounting import certificate as room
from dpcxr_core.accounting.certificate import (
    AccountantsDisagreeError,
    PrivacyCertificate,
    certify,
    privacy_statement,
)
from dpcxr_core.accounting.poisson import PrvBracket, PrvUnavailableError
from dpcxr_core.config import PrivacySpecification, UserError

SPECIFICATION = PrivacySpecification(
    sample_rate=0.05, n_steps=100, expected_batch_size=50, max_grad_norm=1.0, noise_multiplier=2.0, delta=1e-5
)


OF_PATIENTS = replace(SPECIFICATION, privacy_unit="patient", max_images_per_patient=4, clipping="automatic")


@pytest.fixture(scope="module")
def certificate():
    return certify(SPECIFICATION, 1000, target_epsilon=2.0)


@pytest.fixture(scope="module")
def of_patients():
    return certify(OF_PATIENTS, 1000, target_epsilon=2.0)


def test_certificate_repeats_the_specification_and_orders_the_accountants(certificate):
    for name in ("sample_rate", "n_steps", "expected_batch_size", "max_grad_norm", "noise_multiplier", "delta"):
        assert getattr(certificate, name) == getattr(SPECIFICATION, name)
    assert (certificate.privacy_unit, certificate.n_units) == ("image", 1000)
    assert (certificate.max_images_per_patient, certificate.clipping) == (None, "flat")
    assert certificate.epsilon_pld <= certificate.target_epsilon
    assert certificate.epsilon_pld < certificate.epsilon_rdp
    assert certificate.epsilon_prv_low <= certificate.epsilon_pld <= certificate.epsilon_prv
    assert certificate.epsilon_prv - certificate.epsilon_prv_low < 0.021
    assert certificate.expected_passes == pytest.approx(5.0)
    assert certificate.delta_times_units == pytest.approx(0.01)
    assert certificate.library_versions.keys() >= {"dp-accounting", "opacus", "torch"}


def test_certificate_of_patients_has_the_numbers_of_the_same_mechanism_on_images(certificate, of_patients):
    assert (of_patients.privacy_unit, of_patients.n_units) == ("patient", 1000)
    assert (of_patients.max_images_per_patient, of_patients.clipping) == (4, "automatic")
    unit = {"privacy_unit": "image", "max_images_per_patient": None, "clipping": "flat"}
    assert replace(of_patients, **unit) == certificate


def test_certificate_survives_json(certificate, of_patients):
    for each in (certificate, of_patients):
        again = json.loads(json.dumps(asdict(each), allow_nan=False))
        assert PrivacyCertificate(**again) == each


def test_certificate_is_refused_above_the_target_or_for_other_data():
    with pytest.raises(UserError, match="above target_epsilon 0.5"):
        certify(SPECIFICATION, 1000, target_epsilon=0.5)
    with pytest.raises(UserError, match="n_steps must be at most 1000000"):
        certify(replace(SPECIFICATION, n_steps=2_000_000), 1000, target_epsilon=2.0)
    with pytest.raises(UserError, match="2000 images"):
        certify(SPECIFICATION, 2000, target_epsilon=2.0)


@pytest.mark.parametrize("change", [{"sampler": "shuffled"}, {"clipping": "none"}, {"noise_multiplier": 0.0}])
def test_certificate_is_refused_where_nothing_is_promised(change):
    with pytest.raises(UserError, match="needs Poisson sampling, clipping and noise"):
        certify(replace(SPECIFICATION, **change), 1000, target_epsilon=2.0)


@pytest.mark.parametrize(("low", "high"), [(1.001, 1.1), (0.9, 0.985)])
def test_certificate_is_refused_when_the_claim_is_outside_the_bracket(low, high, monkeypatch):
    def bracket(*values):
        claimed = room.epsilon_pld(*values)
        return PrvBracket(low * claimed, claimed, high * claimed)

    monkeypatch.setattr(room, "prv_bracket", bracket)
    with pytest.raises(AccountantsDisagreeError, match="disagree"):
        certify(SPECIFICATION, 1000, target_epsilon=2.0)


def test_claim_may_be_above_the_bracket_by_what_its_grid_rounds_up(monkeypatch):
    monkeypatch.setattr(room, "prv_bracket", lambda *values: PrvBracket(0, 0, 0.995 * room.epsilon_pld(*values)))
    assert certify(SPECIFICATION, 1000, target_epsilon=2.0).epsilon_prv < room.epsilon_pld(2.0, 0.05, 100, 1e-5)


def test_missing_cross_check_is_recorded_with_its_reason(monkeypatch):
    def unavailable(*values):
        raise PrvUnavailableError("the grid is too large")

    monkeypatch.setattr(room, "prv_bracket", unavailable)
    made = certify(SPECIFICATION, 1000, target_epsilon=2.0)
    assert made.epsilon_prv is made.epsilon_prv_low is None
    assert "the grid is too large" in privacy_statement(made)


def test_statement_names_what_the_guarantee_rests_on_and_what_it_leaves_out(certificate):
    statement = privacy_statement(certificate)
    for needed in (
        f"epsilon of at most {certificate.epsilon_pld:.4f}",
        "delta of 1e-05",
        "one image added or removed",
        "Poisson",
        "declared public",
        "hyper-parameters",
        "other runs on the same data: their epsilons add up",
        "label weights",
        "validation",
        "pretraining",
        "several images",
        "float32",
        "used 5 times on average",
        f"between {certificate.epsilon_prv_low:.4f} and {certificate.epsilon_prv:.4f}",
    ):
        assert needed in statement
    assert "Warning" not in statement


def test_statement_about_patients_promises_for_all_their_images_and_says_what_the_limit_is_for(of_patients):
    statement = privacy_statement(of_patients)
    for needed in (
        "one patient with all their images, however many, added or removed",
        "each of the 1000 patients",
        "the gradient of each patient",
        "automatic clipping",
        "at most 4 images of one patient enter one step bounds memory and time; the guarantee does not rest on it",
        "two identifiers",
    ):
        assert needed in statement
    assert "protected less" not in statement


def test_statement_warns_when_delta_reaches_one_over_the_units(certificate, of_patients):
    assert "one over the number of images" in privacy_statement(replace(certificate, delta=1e-3, delta_times_units=1.0))
    assert "one over the number of patients" in privacy_statement(
        replace(of_patients, delta=1e-3, delta_times_units=1.0)
    )
    assert "Warning" not in privacy_statement(of_patients)


def test_delta_of_patients_is_compared_with_their_number():
    """Below one over the images, but not below one over the patients."""
    images = replace(SPECIFICATION, delta=1.2e-3, sample_rate=0.0625, n_steps=20)
    patients = replace(images, privacy_unit="patient", max_images_per_patient=4, sample_rate=0.05)
    of_images, of_patients = certify(images, 800, target_epsilon=2.0), certify(patients, 1000, target_epsilon=2.0)
    assert of_images.delta_times_units == pytest.approx(0.96)
    assert of_patients.delta_times_units == pytest.approx(1.2)
    assert "Warning" not in privacy_statement(of_images)
    assert "one over the number of patients" in privacy_statement(of_patients)


def test_statement_of_a_seeded_run_calls_it_a_demonstration(certificate):
    assert "demonstration" in privacy_statement(certificate, randomness="seeded")
    assert "demonstration" not in privacy_statement(certificate)
