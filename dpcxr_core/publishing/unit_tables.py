"""What a guarantee for images means for patients, as tables: how many images they have, which epsilon that gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dpcxr_core.accounting.patients import PatientDesign, epsilon_of_group, epsilon_of_patient, patient_designs
from dpcxr_core.accounting.poisson import LARGEST_EPSILON
from dpcxr_core.accounting.remembered import remembered
from dpcxr_core.config import PrivacySpecification
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.workers import worker_pool

_PUBLISHED = PROJECT_FOLDER / "data_manifests" / "images_per_patient.yaml"
_ROLES = {"median": "median", "p95": "95th percentile", "max": "most"}


def images_per_patient(patient_ids: pd.Series) -> dict[str, Any]:
    """Images, patients, and how many images patients have: median, 95th percentile (rounded up) and most."""
    counts = patient_ids.value_counts()
    return {
        "images": len(patient_ids),
        "patients": len(counts),
        "median": math.ceil(counts.median()),
        "p95": math.ceil(counts.quantile(0.95)),
        "max": int(counts.max()),
    }


def published_images_per_patient() -> dict[str, dict[str, Any]]:
    """The same of real data sets, with ``about`` and ``source``; None where it is not known."""
    return yaml.safe_load(_PUBLISHED.read_text())


def show_images_per_patient(counts: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row a data set; what is not known says so."""
    columns = {"images": "images", "patients": "patients", **{name: f"{_ROLES[name]} images" for name in _ROLES}}
    rows = {
        name: {words: "unknown" if each.get(key) is None else f"{each[key]:,}" for key, words in columns.items()}
        | {"which images": each.get("about", "")}
        for name, each in counts.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("data set")


def patients_of_interest(counts: Mapping[str, Any], also: Iterable[int] = ()) -> list[int]:
    """Numbers of images to compute an epsilon for: one, those of ``counts``, and ``also`` where not above the most."""
    known = [int(counts[name]) for name in _ROLES if counts.get(name) is not None]
    return sorted({1, *known, *(number for number in also if number <= max(known, default=1))})


def epsilon_by_images(
    specifications: Mapping[float, PrivacySpecification],
    n_images: Sequence[int],
    *,
    n_jobs: int,
    folder: Path | None = None,
) -> pd.DataFrame:
    """Epsilon of patients under guarantees for images, remembered: a row a target and a number of images.

    Args:
        specifications: With the image as privacy unit, by target epsilon.
        n_images: Images of a patient.
        n_jobs: Processes.
        folder: Of what is remembered; the accounting room's unless given.

    Returns:
        ``target_epsilon images tight formula``; infinite where above 100.
    """
    asked = [
        (epsilon, number, each.noise_multiplier, each.sample_rate, each.n_steps, each.delta)
        for epsilon, each in specifications.items()
        for number in n_images
    ]
    with worker_pool(n_jobs) as pool:
        found = list(pool.map(_epsilons, asked, [folder] * len(asked)))
    rows = [
        {"target_epsilon": question[0], "images": question[1], "tight": tight, "formula": formula}
        for question, (tight, formula) in zip(asked, found, strict=True)
    ]
    return pd.DataFrame(rows, columns=["target_epsilon", "images", "tight", "formula"])


def _epsilons(question: tuple[float, int, float, float, int, float], folder: Path | None) -> tuple[float, float]:
    _, number, noise, rate, n_steps, delta = question
    values = {"noise": noise, "rate": rate, "n_steps": n_steps, "delta": delta, "n_images": number}

    def answer() -> list[float | None]:
        found = [each(noise, rate, n_steps, delta, number) for each in (epsilon_of_patient, epsilon_of_group)]
        return [each if math.isfinite(each) else None for each in found]

    tight, formula = (math.inf if each is None else each for each in remembered("patient", values, answer, folder))
    return tight, formula


def show_epsilon_of_patients(table: pd.DataFrame, counts: Mapping[str, Any]) -> pd.DataFrame:
    """Tight epsilon, with the formula's in brackets: a row a patient of ``counts``, a column a target epsilon."""
    shown = table[table["images"].isin([counts[name] for name in _ROLES if counts.get(name) is not None])]
    roles = {
        number: f"{number} ({', '.join(words for name, words in _ROLES.items() if counts.get(name) == number)})"
        for number in sorted(shown["images"].unique())
    }
    cells = shown.assign(
        cell=shown["tight"].map(_epsilon) + " (" + shown["formula"].map(_epsilon) + ")",
        patient=shown["images"].map(roles),
        target=shown["target_epsilon"].map("image epsilon {:g}".format),
    )
    wide = cells.pivot(index="patient", columns="target", values="cell").loc[list(roles.values())]
    return wide[cells["target"].unique()].rename_axis(columns=None).rename_axis("images of the patient")


def patients_in_words(table: pd.DataFrame, counts: Mapping[str, Any]) -> str:
    """What the strictest guarantee for images is worth to the patient with most images, and to the 95th percentile."""
    strictest = table[table["target_epsilon"] == table["target_epsilon"].min()].set_index("images")
    target = strictest["target_epsilon"].iloc[0]
    high, most = counts["p95"], counts["max"]
    tight = {int(images): float(epsilon) for images, epsilon in strictest["tight"].items()}
    sentence = f"An epsilon of {target:g} for images is one of {_epsilon(tight[high])} for a patient with {high} images"
    sentence += ", the 95th percentile"
    if most == high:
        return sentence + ", which is also the most that a patient has."
    if math.isinf(tight[most]):
        return sentence + f", and no promise (an epsilon above {LARGEST_EPSILON:g}) for the one with {most}."
    return sentence + f", and one of {_epsilon(tight[most])} for the one with {most}."


def remembered_designs(*, folder: Path | None = None, **choices: Any) -> list[PatientDesign]:
    """``accounting.patients.patient_designs`` with these arguments, remembered."""
    found = remembered("designs", choices, lambda: [asdict(each) for each in patient_designs(**choices)], folder)
    return [PatientDesign(**values) for values in found]


def show_designs(designs: Sequence[PatientDesign]) -> pd.DataFrame:
    """One row a way to protect patients; its noise on the mean gradient also over the least of all ways."""
    least = min(each.noise_on_mean for each in designs)
    rows = [
        {
            "sampled": each.sampled,
            "images of one patient at most": f"{each.images_per_patient} in "
            + ("the training set" if each.sampled == "images" else "a step"),
            "sample rate": f"{each.sample_rate:.4g}",
            "noise multiplier": f"{each.noise_multiplier:.4g}",
            "noise on the mean gradient, in clip norms": f"{each.noise_on_mean:.4f}",
            "over the least": f"{each.noise_on_mean / least:.2f}",
        }
        for each in designs
    ]
    return pd.DataFrame(rows).set_index(["sampled", "images of one patient at most"])


def _epsilon(value: float) -> str:
    return f"above {LARGEST_EPSILON:g}" if math.isinf(value) else f"{value:.3g}"
