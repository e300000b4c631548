"""Preparing at scale and reading what was prepared: ``python -m benchmarks.preparing``.

Wall-clock seconds, so close other programs first; the load that other programs made is written beside each number, and
the CPU time of preparing, which other programs change little.
Results are printed and written as CSV, with where, when and by which commit beside them in ``preparing.json``.
"""

from __future__ import annotations

import argparse
import os
import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.made import write_made
from dpcxr_core.data.cohort import SplitChoice, cohort_of
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.policies import policy_named
from dpcxr_core.data.prepare import prepare_official
from dpcxr_core.data.sources.chestxray14 import read_chestxray14
from dpcxr_core.provenance import PROJECT_FOLDER, git_state
from dpcxr_core.workers import worker_pool

RESULTS = PROJECT_FOLDER / "benchmarks" / "results"
DATASET = "chestxray14"
SIDE = 1024  # pixels, as of the official pictures
N_DISTINCT = 200
_HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
_FINDINGS = ("No Finding", "Effusion|Infiltration", "Atelectasis", "Cardiomegaly|Effusion", "Pneumonia")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preparing", description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[2_000, 10_000], help="pictures of each run")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2], help="processes of each run")
    parser.add_argument("--rows", type=int, default=805_000, help="rows of the cohort table")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV files")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    commit = git_state()  # before files of the repository change
    tables = {
        "preparing": preparing_rates(options.images, options.jobs),
        "cohort_table": cohort_table_times(options.rows),
    }
    # workers hold what this process has imported, and torch would be most of their memory
    from benchmarks.loading_rates import loading_rates

    tables["loading_rates"] = loading_rates()
    for name, table in tables.items():
        print(f"\n{name}\n{table.to_string(index=False)}")
        table.to_csv(options.out / f"{name}.csv", index=False, float_format="%.6g")
    write_made(options.out / "preparing.json", commit, clock="wall")


def preparing_rates(n_images: Sequence[int], jobs: Sequence[int], side: int = SIDE, size: int = 224) -> pd.DataFrame:
    """``images jobs seconds cpu_seconds images_per_second parent_bytes worker_bytes load``, a row a run.

    By the recipe "corrected". ``cpu_seconds`` is of all processes together.

    Peaks of resident memory: of the process that writes, and of the largest of those that read pictures.
    """
    rows = []
    with TemporaryDirectory() as folder:
        for n in n_images:
            source = Path(folder) / f"source_{n}"
            make_source(source, n, side)
            for number in jobs:
                with worker_pool(1) as pool:  # a process of its own, whose peak is of this run alone
                    out = Path(folder) / f"store_{n}_{number}"
                    rows.append(pool.submit(_prepared, source, out, size, number).result())
                    print(rows[-1], flush=True)  # the next may take an hour
    return pd.DataFrame(rows)


def _prepared(source: Path, out: Path, size: int, jobs: int) -> dict[str, float]:
    started, cpu_before, ended = time.monotonic(), time.process_time(), threading.Event()
    peaks: dict[int, int] = {}
    cpu_seconds: dict[int, float] = {}
    watch = threading.Thread(target=_watch, args=(ended, peaks, cpu_seconds), daemon=True)
    watch.start()
    report = prepare_official(DATASET, source, out, size=size, jobs=jobs, progress=False)
    seconds = time.monotonic() - started
    ended.set()
    watch.join()
    return {
        "images": report.n_read,
        "jobs": jobs,
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu_before + sum(cpu_seconds.values()),
        "images_per_second": report.n_read / seconds,
        "parent_bytes": _peak(os.getpid()),
        "worker_bytes": max(peaks.values()),
        "load": os.getloadavg()[0],
    }


def _watch(ended: threading.Event, peaks: dict[int, int], cpu_seconds: dict[int, float]) -> None:
    """Keeps, by process, what was last seen of those that this one started, and of those that they did."""
    # workers are forks of a server, and what getrusage says of a child begins with the memory of its parent
    while not ended.wait(0.2):
        for process in _descendants(os.getpid()):
            with suppress(OSError):  # it ended just now
                user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
                cpu_seconds[process] = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
                peaks[process] = _peak(process)


def _descendants(process: int) -> list[int]:
    with suppress(OSError):
        children = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
        return [*children, *(each for child in children for each in _descendants(child))]
    return []


def _peak(process: int) -> int:
    """Bytes of its peak resident memory; 0 once it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except FileNotFoundError:
        return 0
    return 1024 * int(found[1]) if found else 0


def cohort_table_times(n_rows: int) -> pd.DataFrame:
    """``rows seconds peak_bytes load``: from CSV, lists and a folder walk to the cohort table, in one row."""
    with TemporaryDirectory() as folder, worker_pool(1) as pool:
        make_source(Path(folder), n_rows, 16)
        return pd.DataFrame([pool.submit(_read_table, Path(folder)).result()])


def _read_table(source: Path) -> dict[str, float]:
    facts, started = facts_of(DATASET), time.monotonic()
    official = read_chestxray14(source, facts)
    cohort = cohort_of(official, facts, policy_named(facts, None), SplitChoice(recipe="official")).cohort
    return {
        "rows": len(cohort),
        "seconds": time.monotonic() - started,
        "peak_bytes": _peak(os.getpid()),
        "load": os.getloadavg()[0],
    }


def make_source(source: Path, n_images: int, side: int) -> None:
    """A folder in the official layout of ChestX-ray14, 3.6 images a patient; a few pictures under many names."""
    pictures = source / "images_001" / "images"
    distinct = source / "distinct"
    for folder in (pictures, distinct):
        folder.mkdir(parents=True)
    for number in range(min(N_DISTINCT, n_images)):
        _radiograph(number, side).save(distinct / f"{number}.png", compress_level=1)
    names = [f"{int(row / 3.6):08d}_{row:06d}.png" for row in range(n_images)]
    for row, name in enumerate(names):
        os.link(distinct / f"{row % N_DISTINCT}.png", pictures / name)
    lines = [
        f"{name},{_FINDINGS[row % 5]},0,{int(name[:8])},{20 + row % 70},{'MF'[row % 2]},{('PA', 'AP')[row % 3 == 0]}"
        for row, name in enumerate(names)
    ]
    (source / "Data_Entry_2017_v2020.csv").write_text("\n".join([_HEADER, *lines]) + "\n")
    first_test = int(names[int(0.8 * n_images)][:8])
    is_test = [int(name[:8]) >= first_test for name in names]
    for file, wanted in (("train_val_list.txt", False), ("test_list.txt", True)):
        listed = [name for name, test in zip(names, is_test, strict=True) if test == wanted]
        (source / file).write_text("\n".join(listed))


def _radiograph(seed: int, side: int) -> Image.Image:
    """Smooth shapes with a little noise, about as large as a file of the official set."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.uniform(30, 220, (12, 12)).astype(np.float32))
    smooth = np.asarray(shapes.resize((side, side), Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(np.rint(smooth + rng.normal(scale=2, size=smooth.shape)), 0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
