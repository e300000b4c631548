"""From official columns to the cohort table: the label map, the closed codings, the counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dpcxr_core.config import FINDINGS, SPLITS, UserError

MANIFESTS = Path(__file__).resolve().parents[2] / "data_manifests"
AGE_LIMITS = (0, 120)


@dataclass(frozen=True)
class OfficialCohort:
    """A cohort table read from official files, with what was counted while reading.

    Attributes:
        cohort: One row per image; columns of ``dpcxr_core.tables.COHORT``.
        counts: What was set to missing or left out, by name.
        unlisted: Files found among the images that no official row names, relative to the source.
    """

    cohort: pd.DataFrame
    counts: Mapping[str, int]
    unlisted: tuple[str, ...]


def manifest(name: str) -> dict[str, Any]:
    """The facts in ``data_manifests/<name>``.

    Raises:
        UserError: The file is missing: the package runs from its repository.
    """
    path = MANIFESTS / name
    if not path.is_file():
        raise UserError(f"no manifest {name!r} in {MANIFESTS}. Install the package in place: pip install -e .")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def label_map(dataset: str) -> dict[str, frozenset[str]]:
    """Finding -> the source terms of ``dataset`` that make it 1; read from ``labels.yml``.

    Raises:
        UserError: The data set has no entry, or an entry misses one of the findings.
    """
    by_dataset = manifest("labels.yml")["datasets"]
    if dataset not in by_dataset:
        raise UserError(f"labels.yml has no data set {dataset!r}; it has {', '.join(sorted(by_dataset))}")
    terms = by_dataset[dataset]["findings"]
    if set(terms) != set(FINDINGS):
        raise UserError(f"labels.yml, {dataset}: findings must be {', '.join(FINDINGS)}; got {sorted(terms)}")
    return {finding: frozenset(terms[finding]) for finding in FINDINGS}


def findings_from_terms(raw_labels: pd.Series, terms: Mapping[str, frozenset[str]], separator: str) -> pd.DataFrame:
    """One float column per finding: 1 where a term of the finding is among an image's terms, else 0.

    A term counts only as a whole: ``Pneumothorax`` is not ``Pneumonia``. An image with no text has NaN.
    """
    present = raw_labels.str.split(separator)
    known = raw_labels.notna() & (raw_labels.str.strip() != "")
    columns = {
        finding: present[known].map(lambda found, wanted=wanted: float(not wanted.isdisjoint(found)))
        for finding, wanted in terms.items()
    }
    return pd.DataFrame(columns, index=raw_labels.index, dtype=float)


def ages_in_years(values: pd.Series) -> tuple[pd.Series, int]:
    """Ages in years, and how many given ages were set to missing.

    Understands plain numbers and the unit suffixes of the first ChestX-ray14 release (``058Y``, ``018M``,
    ``012D``). An age outside 0 to 120, or one that cannot be read, becomes missing; it is never clipped.
    """
    parts = values.astype("string").str.strip().str.extract(r"^(\d+(?:\.\d+)?)([YMWD]?)$")
    per_year = parts[1].map({"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.2425})
    years = pd.to_numeric(parts[0]).astype(float) / per_year.astype(float)
    years = years.where(years.between(*AGE_LIMITS))
    given = values.notna() & (values.astype("string").str.strip() != "")
    return years.rename("age_years"), int((given & years.isna()).sum())


def recorded_sex(values: pd.Series) -> tuple[pd.Series, int]:
    """Recorded sex as F or M, and how many given values were set to missing.

    A closed coding: M, F, Male and Female in any case; everything else is missing.
    """
    text = values.astype("string").str.strip().str.lower()
    sex = text.map({"f": "F", "female": "F", "m": "M", "male": "M"}).astype(object)
    given = values.notna() & (text != "").fillna(False)
    return sex.where(sex.notna(), None).rename("sex"), int((given & sex.isna()).sum())


def cohort_counts(cohort: pd.DataFrame) -> dict[str, dict[str, int]]:
    """For each split: images, patients, and images with each finding. Empty splits are counted as 0."""
    return {
        split: {
            "images": len(rows),
            "patients": int(rows["patient_id"].nunique()),
            **{finding: int((rows[finding] == 1).sum()) for finding in FINDINGS},
        }
        for split, rows in ((split, cohort[cohort["split"] == split]) for split in SPLITS)
    }
