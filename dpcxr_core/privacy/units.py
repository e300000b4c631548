"""Privacy units: whose data is added or removed, and which of their images enter a step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dpcxr_core.config import PrivacySpecification, UserError


@dataclass(frozen=True)
class PrivacyUnits:
    """The images of each privacy unit.

    Attributes:
        rows: ``(n_images,)`` int64 image numbers, those of one unit next to each other.
        starts: ``(n_units + 1,)`` int64; the images of unit u are ``rows[starts[u]:starts[u + 1]]``.
    """

    rows: np.ndarray
    starts: np.ndarray

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return len(self.starts) - 1


def units_of(specification: PrivacySpecification, patient_ids: np.ndarray) -> PrivacyUnits:
    """The privacy units among images whose patients are ``patient_ids`` ``(n_images,)``.

    With the image as unit every image is one unit, in order. With the patient as unit each patient is one, in the
    order of the sorted identifiers, with all of their images.

    Raises:
        UserError: The unit is the patient and an image has no patient.
    """
    if specification.privacy_unit == "image":
        return PrivacyUnits(np.arange(len(patient_ids)), np.arange(len(patient_ids) + 1))
    ids = np.asarray(patient_ids).astype(str)
    nameless = np.flatnonzero(pd.isna(patient_ids) | (np.char.strip(ids) == ""))
    if len(nameless):
        raise UserError(
            f"privacy_unit 'patient' needs a patient_id for every image; {len(nameless)} of {len(ids)} have none, "
            f"the first is image {nameless[0]}. Complete them, or use privacy_unit 'image'."
        )
    _, patients = np.unique(ids, return_inverse=True)
    counts = np.bincount(patients)
    return PrivacyUnits(np.argsort(patients, kind="stable"), np.concatenate([[0], np.cumsum(counts)]))


def images_of(
    units: PrivacyUnits, drawn: np.ndarray, specification: PrivacySpecification, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Images that the units ``drawn`` bring into a step: at most ``max_images_per_patient`` each, chosen evenly.

    Units come in the order of how many images they bring, which lets the engine treat equal ones together.

    Args:
        units: Of the training set.
        drawn: ``(n_drawn,)`` unit numbers.
        specification: Gives ``max_images_per_patient``; None, for the image unit, means no limit.
        rng: Chooses among the images of units with more than the limit, unit by unit.

    Returns:
        ``(n_chosen,)`` image numbers, those of one unit next to each other, and ``(n_drawn,)`` how many images
        each unit brings, ascending.
    """
    most = specification.max_images_per_patient or len(units.rows)
    brought = np.minimum(np.diff(units.starts)[drawn], most)
    order = np.argsort(brought, kind="stable")
    pieces = [np.zeros(0, np.int64)]
    for unit in drawn[order]:
        images = units.rows[units.starts[unit] : units.starts[unit + 1]]
        pieces.append(images if len(images) <= most else rng.choice(images, size=most, replace=False))
    return np.concatenate(pieces).astype(np.int64), brought[order].astype(np.int64)
