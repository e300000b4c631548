"""The archives of ChestMNIST to one table, and their pictures one by one."""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import OfficialTable
from dpcxr_core.data.manifests import terms_of
from dpcxr_core.data.pictures.picture import Picture, UnreadableImageError, grey_picture
from dpcxr_core.data.policies import CODE
from dpcxr_core.data.sources.forward_rows import ForwardRows, row_in_file
from dpcxr_core.data.sources.official_csv import first_present

DATASET = "chestmnist"
LARGEST_SIDE = 2048  # pixels; the published sizes are 28 to 224
_PLACE = re.compile(r"(?P<member>[^/]+)/(?P<row>\d+)")
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError)


def read_chestmnist(source: Path, facts: Mapping[str, Any]) -> OfficialTable:
    """What the largest ChestMNIST archive in ``source`` says: labels and splits; it names no patient, sex, age or view.

    A picture's path is ``chestmnist_224.npz#train/17``: row 17 of the member ``train_images.npy``. As no patient is
    known, each image stands as its own patient.

    Args:
        source: Folder with ``chestmnist_224.npz`` or a smaller one.
        facts: ``data_manifests/chestmnist.yaml``.

    Raises:
        UserError: No archive is there, or it is damaged or not as documented.

    Source:
        Yang et al., MedMNIST v2, Scientific Data 2023; ``medmnist/info.py`` of MedMNIST/MedMNIST, 805b742.
    """
    archive = first_present(source, facts["files"]["archives"], "a ChestMNIST download")
    try:
        with zipfile.ZipFile(archive) as opened:
            parts = [_part(opened, archive.name, member, facts) for member in facts["files"]["members"]]
    except _DAMAGE as error:
        raise UserError(f"{archive.name} is damaged: {_said(error)}. Download it again.") from None
    table = pd.concat(parts, ignore_index=True)
    table.insert(0, "dataset", DATASET)
    published = facts["archives_md5"].get(archive.name)
    counts = {
        "images_in_archive": len(table),
        "archive_md5_not_as_published": int(_md5_of(archive) != published),
    }
    return OfficialTable(table, counts)


def _part(opened: zipfile.ZipFile, archive: str, member: str, facts: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of one split, such as ``member`` "val"."""
    with opened.open(f"{member}_labels.npy") as stream:
        labels = npy.read_array(stream, allow_pickle=False)
    with opened.open(f"{member}_images.npy") as stream:
        n_images = _shape_of_images(stream)[0]
    names = facts["label_order"]
    if labels.shape != (n_images, len(names)):
        raise UserError(f"{archive}: {member}_labels is {labels.shape}, expected ({n_images}, {len(names)})")
    if not np.isin(labels, (0, 1)).all():
        values, n = np.unique(labels, return_counts=True)
        raise UserError(
            f"{archive}: {member}_labels holds {dict(zip(values.tolist(), n.tolist(), strict=True))}; expected 0 and 1"
        )
    labels = labels.astype(bool)
    rows = pd.Series(np.arange(n_images)).astype(str)
    image_id = f"{member}-" + rows.str.zfill(6)
    combinations, which = np.unique(labels, axis=0, return_inverse=True)
    texts = np.array(["|".join(np.array(names)[there]) for there in combinations] or [""], dtype=object)
    return pd.DataFrame(
        {
            "image_id": image_id.astype(object),
            "patient_id": image_id.astype(object),
            "split": facts["files"]["members"][member],
            "view": None,
            "sex": None,
            "age_years": np.nan,
            "path": (f"{archive}#{member}/" + rows).astype(object),
            "raw_labels": texts[which.ravel()],
            **{CODE + label: _codes(labels, names, terms) for label, terms in terms_of(facts).items()},
        }
    )


def _codes(labels: np.ndarray, names: list[str], terms: list[str]) -> np.ndarray:
    """Of one label, "1" or "0"; of no finding, "1" where none of the 14 is there."""
    if terms == ["none of the 14"]:
        there = ~labels.any(axis=1)
    else:
        there = labels[:, [names.index(term) for term in terms]].any(axis=1)
    return np.where(there, "1", "0").astype(object)


def _shape_of_images(stream: IO[bytes]) -> tuple[int, int, int]:
    """Images, height and width of an ``.npy`` stream, which then stands at its first pixel.

    Raises:
        ValueError: Not an array of 8-bit grey pictures.
    """
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_columns, dtype = read_header(stream)
    if dtype != np.uint8 or by_columns or len(shape) != 3 or not all(0 < side <= LARGEST_SIDE for side in shape[1:]):
        raise ValueError(f"pictures are {dtype} of shape {shape}, expected uint8 (images, height, width)")
    return shape


def read_chestmnist_picture(source: Path, path: str) -> Picture:
    """One picture, at a ``path`` of ``read_chestmnist``.

    The archive is unpacked forwards: rows asked for in rising order cost one pass over their member in all, and
    memory of a few pictures. A process keeps the member that it read last open.

    Raises:
        UnreadableImageError: There is no such picture, or the archive is damaged there; the reason says which.
        OSError: The disk failed.
    """
    archive, place = row_in_file(source, path, _PLACE)
    try:
        return grey_picture(_rows_of(archive, place["member"]).row(int(place["row"])))
    except IndexError as error:
        raise UnreadableImageError(f"{archive.name}: {error}") from None
    except _DAMAGE as error:
        raise UnreadableImageError(f"{archive.name} is damaged: {_said(error)}") from None


@lru_cache(maxsize=1)
def _rows_of(archive: Path, member: str) -> ForwardRows[np.ndarray]:
    return ForwardRows(lambda: _pictures_in(archive, member))


def _pictures_in(archive: Path, member: str) -> Iterator[np.ndarray]:
    with zipfile.ZipFile(archive) as opened, opened.open(f"{member}_images.npy") as stream:
        n_images, height, width = _shape_of_images(stream)
        for row in range(n_images):
            pixels = stream.read(height * width)
            if len(pixels) < height * width:
                raise EOFError(f"cut off in row {row} of {n_images}")
            yield np.frombuffer(pixels, np.uint8).reshape(height, width)


def _said(error: Exception) -> str:
    return str(error).strip("'\"") or type(error).__name__


def _md5_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest()
