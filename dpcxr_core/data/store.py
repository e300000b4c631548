"""The image store: one folder with grey images, their cohort table in the same order, and what they are."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.config import FINDINGS, SPLITS, UserError
from dpcxr_core.tables import COHORT, checked

IMAGES_FILE = "images.npy"
COHORT_FILE = "cohort.parquet"
CHECKSUMS_FILE = "checksums.npy"
DESCRIPTION_FILE = "store.json"
REFUSED_FILE = "refused.csv"
_DESCRIBES: dict[str, type] = {
    **dict.fromkeys(("dataset", "patient_ids", "recipe_hash", "split_hash", "listed_sha256"), str),
    **dict.fromkeys(("cohort_sha256", "images_sha256", "checksums_sha256"), str),
    **dict.fromkeys(("size", "n_listed", "n_images", "n_refused"), int),
    **dict.fromkeys(("recipe", "choices", "counts", "made_by"), dict),
    "companions": list,
}


@dataclass(frozen=True)
class ImageStore:
    """An opened image store. Row i of ``images`` is row i of ``cohort``.

    Attributes:
        path: The folder.
        images: ``(n, size, size)`` uint8, mapped from disk, read-only.
        cohort: One row per image; columns of ``dpcxr_core.tables.COHORT``.
        description: ``store.json``: dataset, size, recipe and its hash, whether patients are known, counts, hashes,
            versions.
    """

    path: Path
    images: np.ndarray
    cohort: pd.DataFrame
    description: Mapping[str, Any]


def open_store(path: Path) -> ImageStore:
    """The finished store in the folder ``path``, checked against its description.

    Raises:
        UserError: No finished store is there, or its files are not those it was finished with.
    """
    path = Path(path)
    description = read_description(path)
    found = file_sha256(path / COHORT_FILE)
    if found != description["cohort_sha256"]:
        raise _mismatch(path, f"{COHORT_FILE} has SHA-256 {found[:12]}, not {description['cohort_sha256'][:12]}")
    cohort = _cohort_of(path / COHORT_FILE, found).copy()
    try:
        images = np.load(path / IMAGES_FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _mismatch(path, f"{IMAGES_FILE} cannot be mapped ({error})") from None
    expected = (description["n_images"], description["size"], description["size"])
    if images.shape != expected or images.dtype != np.uint8:
        raise _mismatch(path, f"{IMAGES_FILE} holds {images.shape} {images.dtype}, expected {expected} uint8")
    if len(cohort) != len(images):
        raise _mismatch(path, f"{len(cohort)} rows in {COHORT_FILE}, {len(images)} images in {IMAGES_FILE}")
    return ImageStore(path, images, cohort, description)


@lru_cache(maxsize=8)
def _cohort_of(file: Path, sha256: str) -> pd.DataFrame:
    """The checked table in ``file``, read once for every checksum: runs open the same few stores again and again."""
    return checked(pd.read_parquet(file), COHORT)


def read_description(path: Path) -> dict[str, Any]:
    """What the finished store in the folder ``path`` states of itself; its files are not looked into.

    Raises:
        UserError: No finished store is there, or its description was changed.
    """
    missing = [name for name in (DESCRIPTION_FILE, COHORT_FILE, IMAGES_FILE) if not (path / name).is_file()]
    if missing:
        cure = "Delete it and prepare it again." if (path / DESCRIPTION_FILE).is_file() else "Run dpcxr prepare."
        raise UserError(f"{path} is not a finished image store: no {', '.join(missing)}. {cure}")
    try:
        description = json.loads((path / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise _mismatch(path, f"{DESCRIPTION_FILE} is not JSON ({error})") from None
    if not isinstance(description, dict):
        raise _mismatch(path, f"{DESCRIPTION_FILE} holds a {type(description).__name__}, not keys and values")
    wrong = [name for name, kind in _DESCRIBES.items() if not isinstance(description.get(name), kind)]
    if wrong:
        raise UserError(
            f"{path / DESCRIPTION_FILE} lacks {', '.join(wrong)}: it was changed, or written by an older version. "
            "Delete the store and prepare it again."
        )
    return description


def content_of(path: Path) -> dict[str, Any]:
    """What ``read_description`` says but for who made the store: one that another version made alike is the same."""
    told = {**read_description(path)}
    for name in ("made_by", "counts"):  # a later version may count more of the same
        told.pop(name)
    return told


def _mismatch(path: Path, what: str) -> UserError:
    return UserError(f"image store {path} was changed after it was finished: {what}. Delete it and prepare it again.")


def check_images(store: ImageStore) -> None:
    """Nothing, if every byte of the images is as it was when the store was finished; reads them all.

    Raises:
        UserError: The SHA-256 of the image file differs.
    """
    found = file_sha256(store.path / IMAGES_FILE)
    if found != store.description["images_sha256"]:
        expected = store.description["images_sha256"]
        raise _mismatch(store.path, f"{IMAGES_FILE} has SHA-256 {found[:12]}, not {expected[:12]}")


def verify_store(path: Path) -> ImageStore:
    """The store in the folder ``path``, every byte of its images as it was when the store was finished.

    Raises:
        UserError: ``open_store`` fails, or images were changed: how many, and which rows and image ids, by their
            checksums.
    """
    store = open_store(path)
    try:
        check_images(store)
    except UserError as error:
        raise UserError(f"{error} {_damage_of(store)}") from None
    return store


def _damage_of(store: ImageStore) -> str:
    try:
        rows = np.flatnonzero(checksums_of(store.images) != read_checksums(store))
    except UserError:
        return f"Which rows is not known: {CHECKSUMS_FILE} is missing or was changed too."
    if not len(rows):
        return "No row is damaged, only the header of the file."
    named = ", ".join(f"{row} ({store.cohort['image_id'].iloc[row]})" for row in rows[:5])
    return f"{len(rows)} of {len(store.images)} images differ: rows {named}{', ...' if len(rows) > 5 else ''}."


def read_checksums(store: ImageStore) -> np.ndarray:
    """``(n_images,)`` uint32: CRC-32 of each image as it was when the store was finished.

    Raises:
        UserError: Their file is missing or was changed.
    """
    file = store.path / CHECKSUMS_FILE
    if not file.is_file() or file_sha256(file) != store.description["checksums_sha256"]:
        raise _mismatch(store.path, f"{CHECKSUMS_FILE} is missing or was changed")
    return np.load(file, allow_pickle=False)


def checksums_of(images: Iterable[np.ndarray]) -> np.ndarray:
    """``(n_images,)`` uint32: CRC-32 of each image's bytes; finds damage, not intent."""
    return np.fromiter((zlib.crc32(np.ascontiguousarray(image).data) for image in images), dtype=np.uint32)


def has_patient_ids(store: ImageStore) -> bool:
    """Whether patient ids join images: of persons ("recorded") or "admissions"; not where each has its own ("none")."""
    return store.description["patient_ids"] != "none"


def check_patients_known(store: ImageStore) -> None:
    """Nothing, if patient ids are of persons ("recorded").

    Raises:
        UserError: Each image ("none"), or each of the "admissions", counts as a patient there; nothing can then be
            promised to a patient.
    """
    known = store.description["patient_ids"]
    if known != "recorded":
        meant = "each image counts as one" if known == "none" else f"its patient ids are {known}"
        raise UserError(
            f"{store.description['dataset']} does not know its patients ({meant}), so that no guarantee can be "
            "given to a patient; choose the privacy unit 'image'"
        )


def rows_of(store: ImageStore, split: str) -> np.ndarray:
    """Row numbers of ``split``: ``(n,)`` int64, increasing.

    Raises:
        UserError: ``split`` is not "train", "valid" or "test".
    """
    if split not in SPLITS:
        raise UserError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    return np.flatnonzero(store.cohort["split"] == split)


def labels_of(store: ImageStore, rows: np.ndarray) -> np.ndarray:
    """``(len(rows), 5)`` float32 labels in the order of ``FINDINGS``: 1, 0, or NaN where unknown."""
    return store.cohort[list(FINDINGS)].to_numpy(dtype=np.float32)[rows]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
