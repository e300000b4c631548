"""What a split of images, and not of patients, would let through: patients on both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.describing.images_per_patient import BANDS, image_counts, number_bands
from dpcxr_core.data.splits import split_patients

WHOLE = "all"


def leak_report(patient_ids: pd.Series, *, test_fraction: float, rng: np.random.Generator) -> pd.DataFrame:
    """How many test images show a patient who is also in training, when images or patients are split at random.

    Args:
        patient_ids: Of every image.
        test_fraction: Share of the images, or of the patients, that test; between 0 and 1.
        rng: Draws both splits.

    Returns:
        One row a number of images that patients have, in bands, and "all". ``patients`` and ``images`` there are;
        ``test_images`` of a split by image and ``leaked`` among them; ``leaked_share``, NaN without test images;
        ``expected_share``, what it is on average; ``by_patient``, the share in a split by patient, NaN likewise.

    Raises:
        UserError: ``test_fraction`` is not between 0 and 1.
    """
    if not 0 < test_fraction < 1:
        raise UserError(f"the test fraction must lie between 0 and 1; got {test_fraction}")
    n_images = image_counts(patient_ids)
    in_test = rng.random(len(patient_ids)) < test_fraction
    by_patient = split_patients(patient_ids, {"test": test_fraction, "train": 1 - test_fraction}, rng) == "test"
    images = pd.DataFrame(
        {
            "patient_id": patient_ids.to_numpy(),
            "band": number_bands(n_images),
            "test": in_test,
            "leaked": in_test & _also_in_training(patient_ids, in_test),
            # an image that tests is alone there unless one of the patient's others trains
            "expected": 1 - test_fraction ** (n_images - 1.0),
            "test_by_patient": by_patient.to_numpy(),
            "leaked_by_patient": by_patient.to_numpy() & _also_in_training(patient_ids, by_patient.to_numpy()),
        }
    )
    parts = {band: images[images["band"] == band] for band in BANDS}
    rows = {band: _row(part) for band, part in {**parts, WHOLE: images}.items() if len(part)}
    return pd.DataFrame(rows).T.rename_axis("images of the patient")


def _also_in_training(patient_ids: pd.Series, in_test: np.ndarray) -> np.ndarray:
    return patient_ids.isin(patient_ids[~in_test].unique()).to_numpy()


def _row(images: pd.DataFrame) -> dict[str, float]:
    n_test, n_leaked = int(images["test"].sum()), int(images["leaked"].sum())
    n_test_by_patient = int(images["test_by_patient"].sum())
    return {
        "patients": images["patient_id"].nunique(),
        "images": len(images),
        "test_images": n_test,
        "leaked": n_leaked,
        "leaked_share": n_leaked / n_test if n_test else float("nan"),
        "expected_share": float(images["expected"].mean()),
        "by_patient": images["leaked_by_patient"].sum() / n_test_by_patient if n_test_by_patient else float("nan"),
    }
