"""How many images patients have, and how many patients a set is worth for it."""

from __future__ import annotations

import numpy as np
import pandas as pd

BANDS = {"1": 1, "2": 2, "3-4": 3, "5-9": 5, "10-19": 10, "20 and more": 20}  # name -> least number of images


def image_counts(patient_ids: pd.Series) -> np.ndarray:
    """For each image, how many images its patient has: ``(n_images,)`` int64."""
    return patient_ids.groupby(patient_ids).transform("size").to_numpy(dtype=np.int64)


def number_bands(n_images: np.ndarray) -> np.ndarray:
    """The band of ``BANDS`` that each number of images, 1 or more, falls into: ``(n,)`` of names.

    Example:
        >>> list(number_bands(np.array([1, 4, 184])))
        ['1', '3-4', '20 and more']
    """
    return np.array(list(BANDS), dtype=object)[np.searchsorted(list(BANDS.values()), n_images, side="right") - 1]


def patients_by_number(patient_ids: pd.Series) -> pd.DataFrame:
    """``patients`` and ``images`` of each of ``BANDS``, empty ones too."""
    n_images = patient_ids.value_counts().to_numpy()
    grouped = pd.Series(n_images).groupby(number_bands(n_images))
    table = pd.DataFrame({"patients": grouped.size(), "images": grouped.sum()})
    return table.reindex(list(BANDS), fill_value=0).rename_axis("images of the patient")


def effective_patients(patient_ids: pd.Series) -> float:
    r"""How many patients with equal numbers of images would be worth as much; NaN without images.

    With :math:`n_p` images of patient p it is :math:`(\sum n_p)^2 / \sum n_p^2`: the number of independent images
    that a mean over all images is worth if a patient's images all say the same.

    Source:
        Kish (1965), "Survey Sampling", section 8.2.
    """
    n_images = patient_ids.value_counts().to_numpy(dtype=float)
    return float(n_images.sum() ** 2 / (n_images**2).sum()) if len(n_images) else float("nan")


def number_that_patients_reach(patient_ids: pd.Series, n_patients: int) -> int:
    """The largest number of images that at least ``n_patients`` patients have; 0 if there are fewer patients.

    What one patient has points at that patient; this does not.
    """
    n_images = patient_ids.value_counts()  # descending
    return int(n_images.iloc[n_patients - 1]) if len(n_images) >= n_patients else 0
