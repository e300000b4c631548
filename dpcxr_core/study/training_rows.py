"""Which images a run trains on: those of all training patients, or of a share of them."""

from __future__ import annotations

import hashlib

import numpy as np

from dpcxr_core.data.store import ImageStore, rows_of

_KEY = b"share of the training patients"


def training_rows(store: ImageStore, fraction: float = 1.0) -> np.ndarray:
    """Rows of ``store`` to train on: all images of ``fraction`` of the training patients, in the store's order.

    Promise:
        A smaller share is part of every larger one. Whether a patient is in depends on that patient alone, so that a
        guarantee for the share is one for the whole set: with a patient more or less nobody else comes or goes. The
        size is therefore random, as if each patient were drawn with probability ``fraction``.

    Args:
        store: Its split "train" is meant.
        fraction: Share of the patients, in (0, 1].
    """
    rows = rows_of(store, "train")
    if fraction == 1:
        return rows
    patient_ids = store.cohort["patient_id"].to_numpy()[rows]
    return rows[np.array([_place(patient_id) < fraction for patient_id in patient_ids], bool)]


def _place(patient_id: str) -> float:
    """A number in [0, 1) of the patient's own, evenly spread over patients."""
    digest = hashlib.blake2b(str(patient_id).encode(), digest_size=8, key=_KEY).digest()
    return int.from_bytes(digest, "big") / 2**64
