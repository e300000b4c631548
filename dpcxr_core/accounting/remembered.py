"""Answers of the accounting room kept in small files, so that asking again takes no time.

An answer is named by the question, the source of this room and the versions of the libraries it rests on. The functions
that compute stay pure: whoever wants an answer kept asks here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dpcxr_core.accounting.calibration import calibrate_noise_multiplier, specification_for
from dpcxr_core.accounting.certificate import LIBRARIES, PrivacyCertificate, certify
from dpcxr_core.accounting.patients import PatientDesign, epsilon_of_group, epsilon_of_patient, patient_designs
from dpcxr_core.config import PrivacySpecification, content_key
from dpcxr_core.files import write_json
from dpcxr_core.provenance import PACKAGE_FOLDER, PROJECT_FOLDER, source_key

FOLDER = PROJECT_FOLDER / ".cache" / "accounting"


def remembered(question: str, values: Mapping[str, Any], answer: Callable[[], Any], folder: Path | None = None) -> Any:
    """What ``answer()`` returned when this was first asked; it is called only the first time.

    Args:
        question: What is asked; a name.
        values: All that the answer depends on besides code and libraries, as JSON values.
        answer: Computes a JSON value. An error is raised and not remembered.
        folder: Of the files; ``FOLDER`` unless given. Where it cannot be read or written, nothing is remembered.
    """
    try:
        key = content_key(question, dict(values), _code(), _libraries())
    except ValueError:  # not a number: no answer is kept, and it is for ``answer`` to say what is wrong
        return answer()
    path = (folder or FOLDER) / f"{question}-{key}.json"
    with suppress(OSError):
        if path.is_file():
            return json.loads(path.read_text())["answer"]
    found = answer()
    with suppress(OSError):
        write_json(path, {"question": question, "values": dict(values), "versions": _libraries(), "answer": found})
    return found


def remembered_noise_multiplier(
    *, target_epsilon: float, delta: float, sample_rate: float, n_steps: int, folder: Path | None = None
) -> float:
    """``calibrate_noise_multiplier`` with these arguments, remembered."""
    values: dict[str, Any] = {
        "target_epsilon": target_epsilon,
        "delta": delta,
        "sample_rate": sample_rate,
        "n_steps": n_steps,
    }
    return remembered("noise", values, lambda: calibrate_noise_multiplier(**values), folder)


def remembered_specification(*, folder: Path | None = None, **choices: Any) -> PrivacySpecification:
    """``specification_for`` with these arguments, remembered."""
    values = remembered("specification", choices, lambda: asdict(specification_for(**choices)), folder)
    return PrivacySpecification(**values)


def remembered_certificate(
    specification: PrivacySpecification, n_units: int, target_epsilon: float, *, folder: Path | None = None
) -> PrivacyCertificate:
    """``certify`` with these arguments, remembered."""
    values = {"specification": asdict(specification), "n_units": n_units, "target_epsilon": target_epsilon}
    answer = remembered("certificate", values, lambda: asdict(certify(specification, n_units, target_epsilon)), folder)
    return PrivacyCertificate(**answer)


def remembered_epsilons_of_patient(
    noise_multiplier: float,
    sample_rate: float,
    n_steps: int,
    delta: float,
    n_images: int,
    *,
    folder: Path | None = None,
) -> tuple[float, float]:
    """``epsilon_of_patient`` and ``epsilon_of_group`` with these arguments, remembered."""
    values: dict[str, Any] = {
        "noise_multiplier": noise_multiplier,
        "sample_rate": sample_rate,
        "n_steps": n_steps,
        "delta": delta,
        "n_images": n_images,
    }

    def answer() -> list[float | None]:
        found = [of(**values) for of in (epsilon_of_patient, epsilon_of_group)]
        return [each if math.isfinite(each) else None for each in found]  # JSON knows no infinity

    tight, formula = (math.inf if each is None else each for each in remembered("patient", values, answer, folder))
    return tight, formula


def remembered_designs(*, folder: Path | None = None, **choices: Any) -> list[PatientDesign]:
    """``patient_designs`` with these arguments, remembered."""
    found = remembered("designs", choices, lambda: [asdict(each) for each in patient_designs(**choices)], folder)
    return [PatientDesign(**values) for values in found]


def _code() -> str:
    return source_key(PACKAGE_FOLDER / "accounting", PACKAGE_FOLDER / "config.py")


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}
