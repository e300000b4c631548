"""What a guarantee for images means for patients, as tables: how many images they have, which epsilon that gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dpcxr_core.accounting.patients import PatientDesign
from dpcxr_core.accounting.poisson import LARGEST_EPSILON
from dpcxr_core.accounting.remembered import remembered_epsilons_of_patient, remembered_specification
from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.workers import worker_pool

_PUBLISHED = PROJECT_FOLDER / "data_manifests" / "images_per_patient.yaml"
_COUNTED = {"median": "median", "p95": "95th percentile", "max": "most"}
# Patients who must have more images than a number that is shown of patients who need protection.
LEAST_BEYOND = 10
_ROLES = {**_COUNTED, "exceeded": f"at least {LEAST_BEYOND} patients have more"}


def images_per_patient(
    patient_ids: pd.Series, *, declared: Mapping[str, int] | None = None, needs_protection: bool = False
) -> dict[str, Any]:
    """Images, patients, and how many images patients have: median, 95th percentile (rounded up) and most.

    Args:
        patient_ids: Of every image.
        declared: Public numbers of ``images`` and ``patients``, in place of those found.
        needs_protection: Whether to show no number that is one patient's. Then one that fewer than ``LEAST_BEYOND``
            patients exceed is None, and ``exceeded`` is the largest that so many exceed, or None.
    """
    counts = patient_ids.value_counts()
    sizes = {"images": len(patient_ids), "patients": len(counts), **(declared or {})}
    found = {"median": math.ceil(counts.median()), "p95": math.ceil(counts.quantile(0.95)), "max": int(counts.max())}
    if not needs_protection:
        return sizes | found
    known = {name: number if (counts > number).sum() >= LEAST_BEYOND else None for name, number in found.items()}
    exceeded = int(counts.iloc[LEAST_BEYOND - 1]) - 1 if len(counts) >= LEAST_BEYOND else 0  # counts are descending
    return sizes | known | {"exceeded": exceeded or None, "missing": "withheld"}


def declared_numbers(specification: PrivacySpecification, also: Mapping[str, int] | None = None) -> dict[str, int]:
    """The public numbers of ``images`` or ``patients``: ``also``, and the one that the specification was made for."""
    return {**(also or {}), f"{specification.privacy_unit}s": specification.n_units_declared}


def published_images_per_patient() -> dict[str, dict[str, Any]]:
    """The same of real data sets, with ``about`` and ``source``; None where it is not known."""
    return yaml.safe_load(_PUBLISHED.read_text())


def show_images_per_patient(counts: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row a data set; what is not known, or not shown, says so."""
    columns = {"images": "images", "patients": "patients"} | {key: f"{words} images" for key, words in _COUNTED.items()}
    rows = {
        name: {words: _count(each, key) for key, words in columns.items()} | {"which images": each.get("about", "")}
        for name, each in counts.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("data set")


def _count(counts: Mapping[str, Any], key: str) -> str:
    if counts.get(key) is not None:
        return f"{counts[key]:,}"
    if key == "max" and counts.get("exceeded") is not None:
        return f"above {counts['exceeded']:,}"
    return counts.get("missing", "unknown")


def patients_of_interest(counts: Mapping[str, Any], also: Iterable[int] = ()) -> list[int]:
    """Numbers of images to compute an epsilon for: one, those of ``counts``, and ``also`` where not above the most."""
    known = [int(counts[name]) for name in _ROLES if counts.get(name) is not None]
    return sorted({1, *known, *(number for number in also if number <= max(known, default=1))})


def specifications_of_images(
    specifications: Mapping[float, PrivacySpecification], n_images: int, *, folder: Path | None = None
) -> dict[float, PrivacySpecification]:
    """The same with the image as privacy unit: calibrated anew where it is another.

    Args:
        specifications: By target epsilon.
        n_images: Declared number of training images.
        folder: Of what is remembered; the accounting room's unless given.
    """
    return {
        epsilon: each
        if each.privacy_unit == "image"
        else remembered_specification(
            target_epsilon=epsilon,
            delta=each.delta,
            n_units=n_images,
            expected_batch_size=min(each.expected_batch_size, n_images),
            n_steps=each.n_steps,
            max_grad_norm=each.max_grad_norm,
            clipping=each.clipping,
            folder=folder,
        )
        for epsilon, each in specifications.items()
    }


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

    Raises:
        UserError: The privacy unit of a specification is not the image.
    """
    for epsilon, each in specifications.items():
        if each.privacy_unit != "image":
            raise UserError(
                f"the specification of target epsilon {epsilon:g} protects a {each.privacy_unit} whole, so the number "
                "of images does not matter; pass specifications_of_images"
            )
    with worker_pool(n_jobs) as pool:
        asked = [
            (epsilon, number, pool.submit(remembered_epsilons_of_patient, *each.accounted, number, folder=folder))
            for epsilon, each in specifications.items()
            for number in n_images
        ]
        rows = [(epsilon, number, *found.result()) for epsilon, number, found in asked]
    return pd.DataFrame(rows, columns=["target_epsilon", "images", "tight", "formula"])


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
    """What the strictest guarantee for images is worth to the 95th percentile, and to the patient with most images."""
    strictest = table[table["target_epsilon"] == table["target_epsilon"].min()].set_index("images")
    target = strictest["target_epsilon"].iloc[0]
    worth = {int(images): _worth(float(epsilon)) for images, epsilon in strictest["tight"].items()}
    high, most, exceeded = (counts.get(name) for name in ("p95", "max", "exceeded"))
    parts = []
    if high is not None:
        also = ", which is also the most that a patient has" if most == high else ""
        parts.append(f"{worth[high]} for a patient with {high} images, the 95th percentile{also}")
    if most is not None and most != high:
        parts.append(f"{worth[most]} for the one with {most}")
    if most is None and exceeded is not None and exceeded != high:
        parts.append(
            f"{worth[exceeded]} for a patient with {exceeded} images; at least {LEAST_BEYOND} patients have more"
        )
    if not parts:
        return "How many images the patients have is not known to this page, or withheld."
    return f"An epsilon of {target:g} for images is {', and '.join(parts)}."


def _worth(epsilon: float) -> str:
    if math.isinf(epsilon):
        return f"no promise (an epsilon above {LARGEST_EPSILON:g})"
    return f"one of {_epsilon(epsilon)}"


def show_designs(designs: Sequence[PatientDesign]) -> pd.DataFrame:
    """One row a way to protect patients; its noise on the mean gradient also over the least of all ways."""
    least = min(each.noise_on_mean for each in designs)
    rows = [
        {
            "sampled": each.sampled,
            "images of one patient at most": f"{each.images_per_patient} in "
            + ("the training set" if each.sampled == "images" else "a step"),
            "images in use": f"{each.images_used:,}",
            "expected in a step": f"{each.divisor:,}",
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
