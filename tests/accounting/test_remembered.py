import json
import math
import subprocess
import sys

import pytest

from dpcxr_core.accounting import remembered as room
from dpcxr_core.accounting.calibration import calibrate_noise_multiplier, specification_for
from dpcxr_core.accounting.certificate import certify
from dpcxr_core.accounting.patients import PatientDesign, epsilon_of_group, epsilon_of_patient
from dpcxr_core.accounting.remembered import (
    remembered,
    remembered_certificate,
    remembered_designs,
    remembered_epsilons_of_patient,
    remembered_noise_multiplier,
    remembered_specification,
)
from dpcxr_core.config import UserError

VALUES = {"target_epsilon": 3.0, "delta": 1e-4, "n_units": 1000, "expected_batch_size": 50, "n_steps": 40}


def test_answer_is_computed_once_and_again_for_another_question(tmp_path):
    asked = []

    def answer():
        asked.append(1)
        return {"epsilon": 0.1 + 0.2}

    for _ in range(2):
        assert remembered("a", {"x": 1.0}, answer, tmp_path) == {"epsilon": 0.1 + 0.2}
    assert len(asked) == 1
    remembered("a", {"x": 2.0}, answer, tmp_path)
    remembered("b", {"x": 1.0}, answer, tmp_path)
    assert len(asked) == 3
    kept = json.loads(next(tmp_path.glob("b-*.json")).read_text())
    assert kept["values"] == {"x": 1.0}
    assert "dp-accounting" in kept["versions"]


def test_folder_that_cannot_be_used_costs_only_the_memory(tmp_path):
    (tmp_path / "file").write_text("")
    for answer in (1, 2):
        assert remembered("a", {}, lambda found=answer: found, tmp_path / "file") == answer


def test_error_of_the_answer_itself_is_not_swallowed(tmp_path):
    def fails():
        raise FileNotFoundError("a table")

    with pytest.raises(FileNotFoundError, match="a table"):
        remembered("a", {}, fails, tmp_path)


@pytest.mark.parametrize("changed", ["_code", "_libraries"])
def test_answer_of_other_code_or_libraries_is_not_used(changed, tmp_path, monkeypatch):
    remembered("a", {}, lambda: 1, tmp_path)
    assert remembered("a", {}, lambda: 2, tmp_path) == 1
    monkeypatch.setattr(room, changed, lambda: "other")
    assert remembered("a", {}, lambda: 2, tmp_path) == 2


@pytest.mark.parametrize("target", [0.0, float("nan")])
def test_error_is_raised_and_not_remembered(target, tmp_path):
    with pytest.raises(UserError, match="target_epsilon"):
        remembered_noise_multiplier(target_epsilon=target, delta=1e-5, sample_rate=0.1, n_steps=3, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_remembered_answers_are_those_of_the_pure_functions(tmp_path, monkeypatch):
    noise = {"target_epsilon": 3.0, "delta": 1e-4, "sample_rate": 0.05, "n_steps": 40}
    specification = specification_for(**VALUES, max_grad_norm=0.5)
    certificate = certify(specification, 1000, 3.0)
    expected = (calibrate_noise_multiplier(**noise), specification, certificate)
    for attempt in range(2):
        found = (
            remembered_noise_multiplier(**noise, folder=tmp_path),
            remembered_specification(**VALUES, max_grad_norm=0.5, folder=tmp_path),
            remembered_certificate(specification, 1000, 3.0, folder=tmp_path),
        )
        assert found == expected, attempt
        for name in ("calibrate_noise_multiplier", "specification_for", "certify"):
            monkeypatch.setattr(room, name, None)  # the second time nothing is computed


def test_epsilons_of_patients_are_those_of_the_pure_functions_and_infinity_is_kept(tmp_path, monkeypatch):
    values = (2.0, 0.1, 3, 1e-3)
    expected = [tuple(of(*values, n) for of in (epsilon_of_patient, epsilon_of_group)) for n in (1, 20)]
    assert expected[1][1] == math.inf
    for _ in range(2):
        assert [remembered_epsilons_of_patient(*values, n, folder=tmp_path) for n in (1, 20)] == expected
        monkeypatch.setattr(room, "epsilon_of_patient", None)  # the second time nothing is computed
    assert len(list(tmp_path.iterdir())) == 2


def test_designs_are_remembered(tmp_path, monkeypatch):
    def made(**choices):
        values = {"images_per_patient": choices["limits"][0], "images_used": 1200, "sample_rate": 0.1}
        return [PatientDesign(sampled="images", noise_multiplier=4.0, divisor=100, **values)]

    monkeypatch.setattr(room, "patient_designs", made)
    assert remembered_designs(limits=(4,), folder=tmp_path) == made(limits=(4,))
    monkeypatch.setattr(room, "patient_designs", None)
    assert remembered_designs(limits=(4,), folder=tmp_path) == made(limits=(4,))


def test_remembering_loads_no_accountant():
    """They take seconds to import, which an answer given before must not cost."""
    command = "import sys, dpcxr_core.cli, dpcxr_core.accounting.remembered, dpcxr_core.accounting.solving; "
    command += "print([name for name in ('torch', 'opacus', 'dp_accounting') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
