"""Splits by patient: who trains, who validates, who tests, and the hash that names the outcome."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError


def split_patients(patient_ids: pd.Series, fractions: Mapping[str, float], rng: np.random.Generator) -> pd.Series:
    """The split of each row: every patient's rows share one, and patients are shared out at random.

    Promise:
        The number of patients of a split is within 1 of its fraction. The outcome depends on the set of
        patients, the fractions and ``rng``; neither on the order of rows nor on how many a patient has.

    Args:
        patient_ids: One patient id per image, none missing.
        fractions: Split name -> share of the *patients*; not negative, adding up to 1.
        rng: Draws the order of the patients.

    Returns:
        Split names, with the index of ``patient_ids``.

    Raises:
        UserError: The fractions do not add up to 1, one is negative, or a patient id is missing.
    """
    if min(fractions.values(), default=-1.0) < 0 or not math.isclose(sum(fractions.values()), 1, abs_tol=1e-9):
        raise UserError(f"split fractions must not be negative and must add up to 1; got {dict(fractions)}")
    if patient_ids.isna().any():
        raise UserError(f"{int(patient_ids.isna().sum())} images have no patient id: they cannot be split by patient")
    patients = rng.permutation(np.sort(patient_ids.unique().astype(str)))
    edges = np.rint(np.cumsum(list(fractions.values())) * len(patients)).astype(int)
    names = np.repeat(np.array(list(fractions), dtype=object), np.diff(edges, prepend=0))
    return patient_ids.astype(str).map(dict(zip(patients, names, strict=True))).rename("split")


def carve_validation(cohort: pd.DataFrame, fraction: float, rng: np.random.Generator) -> pd.DataFrame:
    """``cohort`` with ``fraction`` of its training patients, all their images, moved to the split "valid".

    Raises:
        UserError: ``fraction`` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise UserError(f"the validation fraction must lie between 0 and 1; got {fraction}")
    training = cohort["split"] == "train"
    carved = split_patients(cohort.loc[training, "patient_id"], {"valid": fraction, "train": 1 - fraction}, rng)
    return cohort.assign(split=cohort["split"].mask(training, carved))


def part_training_patients(
    cohort: pd.DataFrame, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the training images of two disjoint groups of patients, ``fraction`` in the first.

    For one data set that plays two parts: public pretraining on the first group, private training on the
    second. No patient is in both.

    Returns:
        Two sorted int64 arrays of positions in ``cohort``; together all rows of the split "train".
    """
    rows = np.flatnonzero(cohort["split"] == "train")
    parts = split_patients(cohort["patient_id"].iloc[rows], {"first": fraction, "second": 1 - fraction}, rng)
    first = (parts == "first").to_numpy()
    return rows[first], rows[~first]


def check_patient_disjoint(cohort: pd.DataFrame) -> None:
    """Nothing, if no patient has images in two splits.

    Raises:
        UserError: Some patients do; how many, of how many, and three of them.
    """
    n_splits = cohort.groupby("patient_id")["split"].nunique()
    crossing = n_splits.index[n_splits > 1]
    if len(crossing):
        raise UserError(
            f"{len(crossing)} of {len(n_splits)} patients have images in more than one split "
            f"(first: {', '.join(map(str, crossing[:3]))}). Split by patient, not by image."
        )


def split_hash(cohort: pd.DataFrame) -> str:
    """SHA-256 that names who is in which split: the same for any order of rows.

    Covers ``dataset``, ``image_id``, ``patient_id`` and ``split``; a run record quotes it.
    """
    columns = cohort[["dataset", "image_id", "patient_id", "split"]].astype(str)
    lines = sorted("\t".join(row) for row in columns.itertuples(index=False))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
