"""The journal of a store that is being written: what is safely on disk, and what a continued run may build on.

One JSON line for each chunk of rows, written once its images are on disk: the row after its last as ``rows_done``, the
rows ``refused`` in this chunk with reasons, and the CRC-32 ``checksums`` of its images.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from dpcxr_core.data.store import checksums_of


@dataclass(frozen=True)
class Journalled:
    """What all lines of a journal say together.

    Attributes:
        checksums: ``(n_images,)`` uint32 of the images on disk.
        refused: Row -> reason, in order of rows.
    """

    checksums: np.ndarray
    refused: dict[int, str]


def append_chunk(
    journal: IO[bytes], images: IO[bytes], chunk: np.ndarray, refused: dict[int, str], *, rows_done: int
) -> None:
    """Appends the images of one chunk and, once they are on disk, its line; ``rows_done`` is the row after its last."""
    _append(images, chunk.tobytes())
    entry = {
        "rows_done": rows_done,
        "refused": [[row, refused[row]] for row in sorted(refused)],
        "checksums": checksums_of(chunk).tolist(),
    }
    _append(journal, json.dumps(entry).encode() + b"\n")


def cut_to_good(journal: IO[bytes], images: IO[bytes], header: bytes, size: int, first_row: int) -> int:
    """The row to go on with, after the lines that hold; whatever follows is cut off both files.

    A line holds if it is whole and the bytes of its images have its checksums. A power cut, a full disk or a failing
    one can lose what was said to be written, so nothing is believed that cannot be read again.

    Args:
        journal: Open for reading and appending.
        images: The ``.npy`` file, likewise.
        header: Of the ``.npy`` file; written if no image is kept.
        size: Height and width of an image in pixels.
        first_row: Row that the store begins with.
    """
    journal.seek(0)
    rows_done, n_images, kept = first_row, 0, 0
    images.seek(len(header))
    for line in journal:
        entry = _entry_of(line)
        if entry is None or not _on_disk(images, entry["checksums"], size):
            break
        rows_done, n_images, kept = entry["rows_done"], n_images + len(entry["checksums"]), kept + len(line)
    journal.truncate(kept)
    if n_images == 0:
        images.truncate(0)
        _append(images, header)
    images.truncate(len(header) + n_images * size * size)
    return rows_done


def read_journal(path: Path) -> Journalled:
    """What all lines say together, of a journal that was cut to what is good."""
    checksums: list[np.ndarray] = [np.empty(0, np.uint32)]
    refused: dict[int, str] = {}
    with path.open("rb") as journal:
        for entry in map(json.loads, journal):
            checksums.append(np.array(entry["checksums"], dtype=np.uint32))
            refused.update((row, reason) for row, reason in entry["refused"])
    return Journalled(np.concatenate(checksums), refused)


def _entry_of(line: bytes) -> dict[str, Any] | None:
    """The line's entry; none if a kill cut the line off, or the disk changed it."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and {"rows_done", "refused", "checksums"} <= set(entry) else None


def _on_disk(images: IO[bytes], checksums: list[int], size: int) -> bool:
    content = images.read(len(checksums) * size * size)
    if len(content) < len(checksums) * size * size:
        return False
    found = checksums_of(np.frombuffer(content, np.uint8).reshape(-1, size, size))
    return found.tolist() == checksums


def _append(file: IO[bytes], content: bytes) -> None:
    file.seek(0, os.SEEK_END)
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
