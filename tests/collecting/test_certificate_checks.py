from dataclasses import replace

import pytest

from dpcxr_core.accounting import remembered
from dpcxr_core.collecting.certificate_checks import check_certificate
from dpcxr_core.config import UserError
from dpcxr_core.training.record import read_record


@pytest.fixture(autouse=True, scope="module")
def _remembered_here(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remembered, "FOLDER", tmp_path_factory.mktemp("accounting"))
        yield


def _record(tiny_study, kind):
    folders = zip(tiny_study.configs, tiny_study.folders, strict=True)
    return read_record(next(folder for config, folder in folders if config.kind == kind))


@pytest.mark.parametrize("kind", ["private", "non_private", "public_only"])
def test_records_as_they_were_written_pass(tiny_study, kind):
    check_certificate(_record(tiny_study, kind))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epsilon_pld", 1.0),
        ("epsilon_rdp", 2.0),
        ("noise_multiplier", 1.2),
        ("n_units", 1600),
        ("delta", 1e-5),
        ("delta_times_units", 0.01),
        ("privacy_unit", "patient"),
        ("sampler", "shuffled"),
        ("not_covered", []),
        ("blessed_by", "nobody"),
    ],
)
def test_a_certificate_that_its_configuration_does_not_give_is_refused(tiny_study, name, value):
    record = _record(tiny_study, "private")
    with pytest.raises(UserError, match=rf"is not the one that its configuration gives: {name} is"):
        check_certificate(replace(record, certificate={**record.certificate, name: value}))


def test_a_smaller_noise_in_the_configuration_is_refused_as_well(tiny_study):
    record = _record(tiny_study, "private")
    quiet = replace(record.config.privacy, noise_multiplier=record.config.privacy.noise_multiplier - 0.01)
    with pytest.raises(UserError):
        check_certificate(replace(record, config=replace(record.config, privacy=quiet)))


def test_rounding_and_versions_of_other_machines_pass(tiny_study):
    record = _record(tiny_study, "private")
    elsewhere = {
        "epsilon_pld": record.certificate["epsilon_pld"] * (1 + 1e-6),
        "library_versions": {"dp-accounting": "0.0"},
    }
    check_certificate(replace(record, certificate={**record.certificate, **elsewhere}))


def test_a_statement_that_says_something_else_is_refused(tiny_study):
    record = _record(tiny_study, "private")
    bolder = record.privacy_statement.replace("epsilon of at most", "epsilon of well below")
    with pytest.raises(UserError, match="does not say what its certificate says"):
        check_certificate(replace(record, privacy_statement=bolder))


def test_certificates_belong_to_private_runs_and_to_all_of_them(tiny_study):
    private, ordinary = _record(tiny_study, "private"), _record(tiny_study, "non_private")
    with pytest.raises(UserError, match="has no certificate"):
        check_certificate(replace(private, certificate=None))
    for borrowed in ({"certificate": private.certificate}, {"privacy_statement": private.privacy_statement}):
        with pytest.raises(UserError, match="promises nothing"):
            check_certificate(replace(ordinary, **borrowed))
