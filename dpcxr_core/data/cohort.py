"""From what a data set's own tables say to the cohort table: views, labels by policy, splits, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from dpcxr_core.config import FINDINGS, SPLITS, UserError
from dpcxr_core.data.policies import CODE, LabelPolicy, labels_by, left_out_by
from dpcxr_core.data.splits import carve_validation, check_patient_disjoint, split_patients
from dpcxr_core.tables import COHORT, checked

AGE_LIMITS = (0, 120)
DAYS_IN_A_YEAR = 365.2425  # of the Gregorian calendar
FRONTAL = ("PA", "AP")


@dataclass(frozen=True)
class OfficialTable:
    """What the tables of a data set say, image by image, before any choice of ours.

    Attributes:
        table: One row per image: ``dataset image_id patient_id split view sex age_years path``, one column
            ``code_<label>`` per label in the set's own coding, and whatever else is worth keeping. ``split`` is the
            official one or missing; ``view`` is "PA", "AP", "other" or missing; ``path`` is relative to the source,
            missing where there is no such file.
        counts: What was set to missing or left out while reading, by name.
        unlisted: Files found among the pictures that no row names, relative to the source.
        patient_ids: What ``patient_id`` names in this copy ("recorded", "admissions", "none"), where the facts of the
            data set do not settle it.
    """

    table: pd.DataFrame
    counts: Mapping[str, int]
    unlisted: tuple[str, ...] = ()
    patient_ids: str | None = None


@dataclass(frozen=True, kw_only=True)
class SplitChoice:
    """Who trains, validates and tests.

    Attributes:
        recipe: "official" keeps the published split and carves validation patients from training where it has none;
            "patients" draws all three by patient. Where a set was labelled in two ways (CheXpert: reports, and
            radiologists for its valid and test files), its manifest says in ``patients_drawn_from`` which official
            splits the patients are drawn from; images of the others take no part.
        valid_fraction: Share of the training patients ("official") or of all patients ("patients") that validate.
        test_fraction: "patients": share of all patients that test; plays no part otherwise.
        seed: Seeds the draw; 0 or more.
    """

    recipe: Literal["official", "patients"]
    valid_fraction: float = 0.1
    test_fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.recipe not in ("official", "patients"):
            raise UserError(f"the split recipe is 'official' or 'patients'; got {self.recipe!r}")
        if self.seed < 0:
            raise UserError(f"the seed of the split must be 0 or more; got {self.seed}")
        for name in ("valid_fraction", "test_fraction") if self.recipe == "patients" else ("valid_fraction",):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} must lie between 0 and 1; got {getattr(self, name)}")
        if self.recipe == "patients" and self.valid_fraction + self.test_fraction >= 1:
            raise UserError(
                f"valid_fraction {self.valid_fraction} and test_fraction {self.test_fraction} leave no one to train on"
            )


@dataclass(frozen=True)
class OfficialCohort:
    """A cohort table read from official files, with what was counted while reading.

    Attributes:
        cohort: One row per image; columns of ``dpcxr_core.tables.COHORT`` and the raw codes.
        counts: What was set to missing or left out, by name.
        unlisted: Files found among the images that no official row names, relative to the source.
        patient_ids: "recorded", or what stands for a patient.
        drawn: Splits that were drawn here by patient, beside "train": none where all were published.
    """

    cohort: pd.DataFrame
    counts: Mapping[str, int]
    unlisted: tuple[str, ...]
    patient_ids: str
    drawn: tuple[str, ...]


def cohort_of(
    official: OfficialTable, facts: Mapping[str, Any], policy: LabelPolicy, split: SplitChoice
) -> OfficialCohort:
    """The cohort that a study uses: frontal views, labels by ``policy``, every patient in one split.

    The split is drawn over all patients of the official tables, before any image is left out, so that another policy
    or view filter moves nobody from one split to another.

    Raises:
        UserError: An id stands twice for different images, a code is unknown to the policy, the official split is not
            by patient or missing, or no image is left.
    """
    table, counts = _one_row_an_image(official.table), dict(official.counts)
    counts["repeated_rows"] = len(official.table) - len(table)
    nobody = table["patient_id"].isna() | (table["patient_id"] == "")
    counts["no_patient_id"] = int(nobody.sum())
    table = table[~nobody].reset_index(drop=True)
    drawn = _drawn_splits(table, split)
    table = _split(table, split, facts.get("patients_drawn_from"))
    in_no_split = table["split"].isna()
    counts["in_no_split"] = int(in_no_split.sum())
    unknown = table["view"].isna()
    not_frontal = ~(unknown | table["view"].isin(FRONTAL))
    unknown &= not facts["keep_unknown_view"]
    counts["view_not_frontal"] = int((not_frontal & ~in_no_split).sum())
    counts["view_unknown"] = int((unknown & ~in_no_split).sum())
    table = table[~in_no_split & ~not_frontal & ~unknown]
    left_out = left_out_by(policy, table)
    counts[f"left_out_by_policy_{policy.name}"] = int(left_out.sum())
    cohort = table[~left_out].reset_index(drop=True)
    if cohort.empty:
        raise UserError(
            f"none of the {len(official.table)} images of {facts['title']} is left; counts: {counts}"
            + (_cure_of_unknown_views(counts["view_unknown"]) if counts["view_unknown"] else "")
        )
    cohort = cohort.join(labels_by(policy, cohort))
    check_patient_disjoint(cohort)
    patient_ids = official.patient_ids or facts.get("patient_ids", "recorded")
    return OfficialCohort(checked(cohort, COHORT), counts, official.unlisted, patient_ids, drawn)


def _cure_of_unknown_views(n_unknown: int) -> str:
    return (
        f". {n_unknown} of them name no view: state keep_unknown_view: true in the manifest to keep them as frontal, "
        "or the column that names it (columns.view) and what its values mean (view)."
    )


def _one_row_an_image(table: pd.DataFrame) -> pd.DataFrame:
    nameless = table["image_id"].isna() | (table["image_id"] == "")
    if nameless.any():
        raise UserError(f"{int(nameless.sum())} of {len(table)} rows name no image. Take them out of the table.")
    if not table["image_id"].duplicated().any():
        return table
    table = table.drop_duplicates()
    twice = table.loc[table["image_id"].duplicated(keep=False), "image_id"]
    if len(twice):
        raise UserError(
            f"{twice.nunique()} image ids stand in rows that differ (first: {', '.join(twice.unique()[:3])}). "
            "Keep one row an image."
        )
    return table


def _split(table: pd.DataFrame, choice: SplitChoice, drawn_from: list[str] | None) -> pd.DataFrame:
    rng = np.random.default_rng(choice.seed)
    if choice.recipe == "patients":
        valid, test = choice.valid_fraction, choice.test_fraction
        fractions = {"valid": valid, "test": test, "train": 1 - valid - test}
        taking_part = table["split"].isin(drawn_from) if drawn_from else pd.Series(True, index=table.index)
        drawn = split_patients(table.loc[taking_part, "patient_id"], fractions, rng)
        return table.assign(split=drawn.reindex(table.index).astype(object))
    if table["split"].isna().all():
        raise UserError("this data set has no official split; choose the split recipe 'patients'")
    check_patient_disjoint(table[table["split"].notna()])
    return carve_validation(table, choice.valid_fraction, rng) if _drawn_splits(table, choice) else table


def _drawn_splits(table: pd.DataFrame, choice: SplitChoice) -> tuple[str, ...]:
    if choice.recipe == "patients":
        return ("valid", "test")
    return () if (table["split"] == "valid").any() else ("valid",)


def ages_in_years(values: pd.Series) -> tuple[pd.Series, int]:
    """Ages in years, and how many given ages were set to missing.

    Understands plain numbers and unit suffixes, as of DICOM and of the first ChestX-ray14 release (``058Y``,
    ``018M``, ``012D``). An age outside 0 to 120, or one that cannot be read, becomes missing; it is never clipped.
    """
    parts = values.astype("string").str.strip().str.extract(r"^([0-9]{1,6}(?:\.[0-9]{1,9})?)([YMWD]?)$")
    per_year = parts[1].map({"": 1.0, "Y": 1.0, "M": 12.0, "W": DAYS_IN_A_YEAR / 7, "D": DAYS_IN_A_YEAR})
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


def view_of(values: pd.Series, views: Mapping[str, str]) -> pd.Series:
    """View by the coding ``views``: "PA" or "AP"; "other" for any other text, missing where there is none."""
    view = values.map(dict(views)).astype(object)
    given = values.notna() & (values != "")
    return view.where(view.notna() | ~given, "other").where(given, None).rename("view")


def codes_of_terms(terms: pd.Series, wanted: Mapping[str, list[str]], separator: str) -> pd.DataFrame:
    """``code_<label>`` from a text of terms: "mentioned" if one of the label's terms is there, else "not mentioned".

    A term counts only as a whole: ``Pneumothorax`` is not ``Pneumonia``. An image with no text has no code.
    """
    found = terms.map(lambda text: frozenset(part.strip() for part in text.split(separator)) if text.strip() else None)
    columns = {
        CODE + label: found.map(
            lambda there, of_label=frozenset(names): (
                None if there is None else "not mentioned" if of_label.isdisjoint(there) else "mentioned"
            )
        )
        for label, names in wanted.items()
    }
    return pd.DataFrame(columns, index=terms.index, dtype=object)


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
