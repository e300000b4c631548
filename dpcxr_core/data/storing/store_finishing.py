"""The last files of a store, written once its images are on disk: checksums, tables, and the description."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import cohort_counts
from dpcxr_core.data.splits import split_hash
from dpcxr_core.data.store import (
    CHECKSUMS_FILE,
    COHORT_FILE,
    DESCRIPTION_FILE,
    IMAGES_FILE,
    checksums_of,
    file_sha256,
)
from dpcxr_core.provenance import imported_source_key

_SHAPES_PIXELS = ("numpy", "pillow", "scipy", "pydicom", "pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-libjpeg")
_BYTES_AT_ONCE = 1 << 25
# by name, as these modules import this one; a new way to make a store is to be named here
_MAKERS = ("dpcxr_core.data.prepare", "dpcxr_core.data.simulation.prepare_simulated")


def made_by() -> dict[str, str]:
    """The code that makes a store: its version, a key of its text and imports, and the packages that shape a pixel."""
    found = {"dpcxr-core": version("dpcxr-core"), "source": imported_source_key(*_MAKERS)}
    for package in _SHAPES_PIXELS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def finish_store(
    folder: Path, begun: Mapping[str, Any], checksums: np.ndarray, tables: Mapping[str, pa.Table], n_refused: int
) -> None:
    """Writes what ``folder`` lacks to be a store, beside its images and ``refused.csv``.

    Args:
        folder: Holds the ``.npy`` file, whose header is replaced, and ``refused.csv``.
        begun: What ``store.json`` begins with.
        checksums: ``(n_images,)`` uint32 of the images as they were rendered; the file is read against them.
        tables: "cohort" and its companions, a row an image.
        n_refused: Rows of ``refused.csv``.

    Raises:
        UserError: The disk does not give back what was written.
    """
    size, n_images = begun["size"], len(checksums)
    with (folder / IMAGES_FILE).open("r+b") as images:
        images.write(npy_header(n_images, size))
    images_sha256 = _checked_sha256(folder / IMAGES_FILE, checksums, size)
    np.save(folder / CHECKSUMS_FILE, checksums)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    cohort = tables["cohort"].to_pandas()
    description = {
        **begun,
        "n_images": n_images,
        "n_refused": n_refused,
        "counts": cohort_counts(cohort),
        "split_hash": split_hash(cohort),
        "cohort_sha256": file_sha256(folder / COHORT_FILE),
        "images_sha256": images_sha256,
        "checksums_sha256": file_sha256(folder / CHECKSUMS_FILE),
        "companions": sorted(set(tables) - {"cohort"}),
    }
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def image_blocks(images: IO[bytes], n_images: int, size: int) -> Iterator[np.ndarray]:
    """The next ``n_images`` of an open ``.npy`` file, some megabytes at once; fewer where the file ends."""
    at_once = max(1, _BYTES_AT_ONCE // size**2)
    for start in range(0, n_images, at_once):
        content = images.read(min(at_once, n_images - start) * size * size)
        yield np.frombuffer(content[: len(content) // size**2 * size**2], np.uint8).reshape(-1, size, size)


def _checked_sha256(path: Path, checksums: np.ndarray, size: int) -> str:
    digest, n_read = hashlib.sha256(), 0
    with path.open("rb") as images:
        digest.update(images.read(len(npy_header(0, size))))
        for block in image_blocks(images, len(checksums), size):
            digest.update(block.data)
            good = checksums_of(block) == checksums[n_read : n_read + len(block)]
            n_read += len(block) if good.all() else int(np.argmin(good))
            if not good.all():
                break
    if n_read < len(checksums):
        raise UserError(
            f"{path} does not hold what was written to it, from image {n_read} on: is the disk failing? "
            "Call again: what is still good is kept."
        )
    return digest.hexdigest()


def npy_header(n_images: int, size: int) -> bytes:
    """The header of an ``.npy`` file of ``n_images``; as long for any number, so that it can be replaced."""
    header = io.BytesIO()
    shape = (n_images, size, size)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()
