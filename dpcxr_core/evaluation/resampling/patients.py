"""Bootstrap resamples of whole patients, within strata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from dpcxr_core.config import UserError

# 32 Mi weights at a time: work arrays stay below a few hundred MiB, whatever n_resamples and n_images are.
_CHUNK_ENTRIES = 2**25


@dataclass(frozen=True, eq=False)
class Resamples:
    """How often each patient enters each resample, and whose images are whose.

    Attributes:
        weights: ``(1 + n_resamples, n_patients)`` uint16; row 0 is the data itself: all ones, or, in a
            permutation of groups, ones for the members of one group.
        patient_of_image: ``(n_images,)`` int, the column of each image's patient.
    """

    weights: NDArray[np.uint16]
    patient_of_image: NDArray[np.int64]


def resampling_rng(seed: int, dataset: str) -> np.random.Generator:
    """Generator that depends on the seed (not negative) and the data set alone.

    So every run scored on a data set meets the same resamples, which pairs runs, and adding a data set
    changes no interval of another.
    """
    return np.random.default_rng([seed, *dataset.encode()])


def resamples_of(patient_ids: ArrayLike, strata: ArrayLike, n_resamples: int, rng: np.random.Generator) -> Resamples:
    """Resamples in which whole patients are drawn with replacement, as many from each stratum as it has.

    Images of one patient resemble each other, so drawing images one by one pretends to more evidence than
    there is: a patient drawn brings all of their images. With groups as strata no resample loses a small group,
    and what varies is told for this mix of groups: by how much the mix itself might have differed is not. A
    patient who is a stratum of their own enters every resample once.

    Args:
        patient_ids: ``(n_images,)``, one identifier per image.
        strata: ``(n_images,)``, one name per image; a patient belongs to the stratum of their first image.
        n_resamples: Number of resamples, at least 1.
        rng: Source of the draws. The draws depend on the patients and on who shares a stratum, neither on the
            strata's names nor on the images' order.

    Raises:
        UserError: ``n_resamples`` is below 1, there is no image, or an image has no patient.

    Source:
        Davison and Hinkley (1997), "Bootstrap methods and their application", sections 3.2 (strata) and 3.8
        (clusters).
    """
    patient_of_image, patients = pd.factorize(np.asarray(patient_ids, dtype=object), sort=True)
    if n_resamples < 1:
        raise UserError(f"n_resamples must be at least 1; got {n_resamples}")
    if patient_of_image.size == 0 or patient_of_image.min() < 0:
        raise UserError("patient_ids needs at least one image, and a patient for every image")
    first_images = np.unique(patient_of_image, return_index=True)[1]
    # numbered as their patients come, so that renaming strata changes no draw
    stratum, _ = pd.factorize(np.asarray(strata, dtype=object)[first_images].astype(str))
    sizes = np.bincount(stratum)
    by_stratum = np.argsort(stratum, kind="stable")
    ends = np.repeat(np.cumsum(sizes), sizes)
    starts = ends - np.repeat(sizes, sizes)
    weights = np.ones((1 + n_resamples, len(patients)), dtype=np.uint16)
    for row in weights[1:]:
        row[by_stratum] = np.bincount(rng.integers(starts, ends), minlength=len(patients))
    return Resamples(weights, patient_of_image)


def of_images(resamples: Resamples, images: NDArray) -> Resamples:
    """The same resamples of patients, seen on some of the images (``images``: positions or a mask)."""
    return replace(resamples, patient_of_image=resamples.patient_of_image[images])


def image_weights(resamples: Resamples) -> NDArray[np.uint16]:
    """``(1 + n_resamples, n_images)``: how often each image enters each resample."""
    return resamples.weights[:, resamples.patient_of_image]


def by_image_weights(
    resamples: Resamples, statistic: Callable[[NDArray[np.uint16]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """``(1 + n_resamples, ...)``: what ``statistic`` makes of every resample's image weights.

    For statistics that weigh the images of one patient apart; others take ``Resamples.weights`` as they are, and are
    faster for it.

    Args:
        resamples: Of n_images images.
        statistic: Takes ``(n_rows, n_images)`` of ``image_weights``, a chunk of rows at a time, and gives a row each.
    """
    n_rows = max(1, _CHUNK_ENTRIES // max(1, resamples.patient_of_image.size))
    starts = range(0, len(resamples.weights), n_rows)
    return np.concatenate(
        [statistic(resamples.weights[start : start + n_rows, resamples.patient_of_image]) for start in starts]
    )


def weighted_sums(resamples: Resamples, features: NDArray) -> NDArray[np.float64]:
    """``(1 + n_resamples, k)``: each feature's sum over the images of every resample.

    Summed over each patient's images first, so the cost does not grow with images times resamples. Exact for
    whole numbers below 2**53.

    Args:
        resamples: Of n_images images.
        features: ``(n_images, k)``, finite.
    """
    n_images, n_patients = len(features), resamples.weights.shape[1]
    images_of_patient = csr_array(
        (np.ones(n_images), (resamples.patient_of_image, np.arange(n_images))), shape=(n_patients, n_images)
    )
    of_patient = images_of_patient @ np.asarray(features, dtype=float)
    n_rows = max(1, _CHUNK_ENTRIES // n_patients)
    starts = range(0, len(resamples.weights), n_rows)
    return np.concatenate([resamples.weights[start : start + n_rows].astype(float) @ of_patient for start in starts])
