"""The images and scores of the whole study at once, 805,000 of them: ``python -m benchmarks.at_scale``.

A store of random bytes is written, opened, checked and read in random batches as training reads it, larger than the
memory of most machines; and ``evaluate`` takes the scores of five findings for as many images with 1,000 resamples of
patients, which no single test set of the study needs. Each part runs in a process of its own, so that the peak of
resident memory is its own. Reading is timed by the wall, as it waits for the disk; computing by CPU time.
Results are printed and written as CSV, one file a part, each with where, when and by which commit beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.made import write_made
from benchmarks.resampling import random_tables
from dpcxr_core.config import FINDINGS, EvaluationChoice, UserError
from dpcxr_core.data.store import file_sha256
from dpcxr_core.data.storing.store_finishing import npy_header
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.provenance import PROJECT_FOLDER, git_state
from dpcxr_core.training.loading import read_rows
from dpcxr_core.workers import worker_pool

RESULTS = PROJECT_FOLDER / "benchmarks" / "results"
IMAGES_PER_PATIENT = 3.6  # as in ChestX-ray14
PARTS = ("store", "evaluation")
_BLOCK = 500  # images written at once
_SPARE = 5e9  # bytes of disk to leave alone
Row = dict[str, str | float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.at_scale", description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=805_000, help="images of the study's six data sets")
    parser.add_argument("--size", type=int, default=224, help="height and width of the stored images")
    parser.add_argument("--resamples", type=int, default=1_000, help="resamples of patients")
    parser.add_argument("--folder", type=Path, default=PROJECT_FOLDER / ".cache", help="where the store is written")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="leave the files of the other")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV files")
    options = parser.parse_args()
    for folder in (options.folder, options.out):
        folder.mkdir(parents=True, exist_ok=True)
    commit = git_state()  # before files of the repository change
    measure = {
        "store": lambda: store_rows(options.folder, options.images, options.size),
        "evaluation": lambda: in_own_process(evaluation_rows, options.images, options.resamples),
    }
    facts = {
        "store": {"clock": "wall", "images": options.images, "size": options.size},
        "evaluation": {"clock": "CPU", "images": options.images, "resamples": options.resamples},
    }
    for part in options.only:
        table = pd.DataFrame(measure[part]())
        print(f"\n{part}\n{table.to_string(index=False)}")
        table.to_csv(options.out / f"at_scale_{part}.csv", index=False, float_format="%.6g")
        write_made(options.out / f"at_scale_{part}.json", commit, **facts[part])


def in_own_process(part: Callable[..., list[Row]], *arguments: object) -> list[Row]:
    """What ``part`` gives, in a fresh process of one thread, and its peak of resident memory."""
    with worker_pool(1) as pool:
        return pool.submit(_with_peak, part, arguments).result()


def _with_peak(part: Callable[..., list[Row]], arguments: tuple[object, ...]) -> list[Row]:
    rows = part(*arguments)
    return [*rows, _row(part.__name__.removesuffix("_rows"), "peak memory", _peak_bytes(), "bytes")]


def _peak_bytes() -> int:
    """Of resident memory; what getrusage says would begin with the memory of the process that started this one."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def _row(part: str, quantity: str, value: float, unit: str) -> Row:
    return {"part": part, "quantity": quantity, "value": value, "unit": unit, "load": os.getloadavg()[0]}


def store_rows(folder: Path, n_images: int, size: int, seconds: float = 30.0) -> list[Row]:
    """Writing, checking and reading the image file of a store, in wall seconds; each rate for ``seconds``.

    Raises:
        UserError: The disk has no room for it.
    """
    n_bytes = n_images * size**2
    free = shutil.disk_usage(folder).free
    if free < n_bytes + _SPARE:
        raise UserError(
            f"{folder} has {free / 1e9:.0f} GB free and {n_images} images of {size} px take {n_bytes / 1e9:.0f} GB; "
            "give another --folder, or a smaller --size"
        )
    with TemporaryDirectory(dir=folder) as inside:
        path = Path(inside) / "images.npy"
        started = time.perf_counter()
        _write(path, n_images, size)
        rows = [_row("store", "writing", time.perf_counter() - started, "s"), _row("store", "size", n_bytes, "bytes")]
        forget(path)
        started = time.perf_counter()
        file_sha256(path)
        rows.append(_row("store", "checking every byte, as each run does", time.perf_counter() - started, "s"))
        for batch, announced in ((64, False), (256, False), (64, True), (256, True)):
            forget(path)
            rows += in_own_process(reading_rows, path, batch, announced, seconds)
    return rows


def _write(path: Path, n_images: int, size: int) -> None:
    block = np.random.default_rng(0).integers(0, 256, (_BLOCK, size, size), dtype=np.uint8)
    with path.open("wb") as images:
        images.write(npy_header(n_images, size))
        for start in range(0, n_images, _BLOCK):
            block[0, 0, :8] = np.frombuffer(np.int64(start).tobytes(), np.uint8)  # no two blocks are alike
            images.write(block[: n_images - start].data)
        images.flush()
        os.fsync(images.fileno())


def forget(path: Path) -> None:
    """Has the system drop what it keeps of the file in memory."""
    with path.open("rb") as images:
        os.posix_fadvise(images.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def reading_rows(path: Path, batch: int, announced: bool, seconds: float) -> list[Row]:
    """Images a second that batches of random rows bring from a file that was dropped from memory; none is read twice.

    Args:
        path: The image file of a store.
        batch: Rows read at once.
        announced: Whether by ``read_rows``, which tells the system of all rows of a batch first; else it learns of
            each page when it is touched.
        seconds: For how long the rate is measured.
    """
    images, n_read = np.load(path, mmap_mode="r"), 0
    order = np.random.default_rng(0).permutation(len(images))
    started = time.perf_counter()
    while n_read + batch <= len(order) and time.perf_counter() - started < seconds:
        rows = order[n_read : n_read + batch]
        n_read += len(read_rows(images, rows) if announced else np.take(images, np.sort(rows), axis=0))
    what = f"random batches of {batch}{', announced' if announced else ''}"
    return [_row("reading", what, n_read / (time.perf_counter() - started), "images/s")]


def evaluation_rows(n_images: int, n_resamples: int) -> list[Row]:
    """Every metric of ``evaluate`` for one test set of ``n_images``, in CPU seconds."""
    scores, cohort = random_tables(n_images, round(n_images / IMAGES_PER_PATIENT))
    choice, rows = EvaluationChoice(n_resamples=n_resamples), []
    with _cpu_seconds() as spent:
        evaluate(scores, cohort, choice, dict.fromkeys(FINDINGS, 0.2))
    rows.append(_row("evaluation", f"every metric, {n_resamples} resamples", spent[0], "s"))
    rate = n_images * (1 + n_resamples) / spent[0]
    return [*rows, _row("evaluation", "images times resamples", rate, "1/s")]


@contextmanager
def _cpu_seconds() -> Iterator[list[float]]:
    """A list that holds the CPU seconds of the block once it has ended."""
    spent: list[float] = []
    started = time.process_time()
    yield spent
    spent.append(time.process_time() - started)


if __name__ == "__main__":
    main()
