"""How many images a second random batches bring from a store, from memory and from disk, by one process and by two."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from dpcxr_core.data.images import to_input
from dpcxr_core.data.storing.store_finishing import npy_header
from dpcxr_core.training.architectures import per_image_input
from dpcxr_core.training.loading import read_rows
from dpcxr_core.workers import worker_pool

_BATCH = 64
_ARCHITECTURE = "convnext_tiny"
_BLOCK = 500  # images written at once


def loading_rates(n_images: int = 20_000, size: int = 224, seconds: float = 4.0) -> pd.DataFrame:
    """``what source processes images_per_second load``; batches of 64 rows at random, none read twice.

    ``what`` is "bytes" (uint8, as stored) or "network input" (float32, three channels). ``source`` is "page cache",
    or "disk": the system was told to forget the file before. Processes do not share rows, as ranks do not.

    Args:
        n_images: Of a store made for this.
        size: Height and width in pixels.
        seconds: For how long each rate is measured.
    """
    rows = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        _write_store(path, n_images, size)
        for source in ("page cache", "disk"):
            for n_processes in (1, 2):
                for what in ("bytes", "network input"):
                    rate = _rate(path, n_processes, what, source == "disk", seconds)
                    rows.append({"what": what, "source": source, "processes": n_processes, "images_per_second": rate})
                    rows[-1]["load"] = os.getloadavg()[0]
    return pd.DataFrame(rows)


def _write_store(path: Path, n_images: int, size: int) -> None:
    rng = np.random.default_rng(0)
    with path.open("wb") as images:
        images.write(npy_header(n_images, size))
        for start in range(0, n_images, _BLOCK):
            n = min(_BLOCK, n_images - start)
            images.write(rng.integers(0, 256, (n, size, size), dtype=np.uint8).data)
        images.flush()
        os.fsync(images.fileno())


def _rate(path: Path, n_processes: int, what: str, from_disk: bool, seconds: float) -> float:
    with worker_pool(n_processes) as pool:
        list(pool.map(_ready, range(n_processes)))
        _put(path, from_disk)
        begin = time.time() + 0.5
        parts = [(path, part, n_processes, what, begin, seconds) for part in range(n_processes)]
        return sum(pool.map(_images_a_second, *zip(*parts, strict=True)))


def _ready(number: int) -> None:
    per_image_input(_ARCHITECTURE)  # imports what loading needs
    time.sleep(0.5)  # so that every process takes one of these


def _put(path: Path, from_disk: bool) -> None:
    """Has the system forget the file, or read all of it."""
    with path.open("rb") as images:
        if from_disk:
            os.posix_fadvise(images.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while images.read(1 << 24):
                pass


def _images_a_second(path: Path, part: int, of: int, what: str, begin: float, seconds: float) -> float:
    images = np.load(path, mmap_mode="r")
    transform = per_image_input(_ARCHITECTURE)
    rows = np.random.default_rng(0).permutation(len(images))[part::of]
    time.sleep(max(0.0, begin - time.time()))
    started, n_read = time.monotonic(), 0
    while n_read + _BATCH <= len(rows) and time.monotonic() - started < seconds:
        batch = read_rows(images, rows[n_read : n_read + _BATCH])
        if what == "network input":
            to_input(batch, transform)
        n_read += _BATCH
    return n_read / (time.monotonic() - started)
