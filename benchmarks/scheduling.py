"""Whether planning and scheduling stay linear in the number of cells: ``python -m benchmarks.scheduling``.

Seconds by the wall clock for studies of thousands of cells whose jobs do nothing: to read and plan the study file; for
Snakemake to find out what to do; to run all cells on two cores; and to run nothing once all is done. A job that does
nothing is ``touch``: the rest is the engine's. Results are printed and written as CSV, with where, when and by which
commit beside them in ``scheduling.json``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from benchmarks.made import write_made
from dpcxr_core.planning.jobs import jobs_of, write_plan
from dpcxr_core.planning.study_file import read_study
from dpcxr_core.provenance import PROJECT_FOLDER, git_state
from dpcxr_core.running import by_snakemake

RESULTS = PROJECT_FOLDER / "benchmarks" / "results"
CELLS_A_SEED = 20  # five initialisations at four levels
_REAL_JOB, _NO_JOB = "exec {params.words} --result {output:q} > {log:q} 2>&1", "touch {output:q}"
_SNAKEMAKE = "import sys; from snakemake.cli import main; main(sys.argv[1:])"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduling", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--cells", type=int, nargs="+", default=[500, 1000, 2000, 4000], help="sizes of the studies, in twenties"
    )
    parser.add_argument("--cores", type=int, default=2, help="jobs side by side")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV file")
    options = parser.parse_args()
    if odd := [n_cells for n_cells in options.cells if n_cells % CELLS_A_SEED]:
        parser.error(f"--cells must be multiples of {CELLS_A_SEED}; got {odd}")
    commit = git_state()  # before files of the repository change
    rows = [measured(n_cells, options.cores) for n_cells in options.cells]
    table = pd.DataFrame(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "scheduling.csv", index=False, float_format="%.4g")
    exponents = {name: growth(table["cells"], table[name]) for name in table.columns[1:]}
    write_made(options.out / "scheduling.json", commit, clock="wall", cores_used=options.cores, exponents=exponents)
    print(table.round(1).to_string(index=False))
    print("seconds grow as cells to the power of", {name: round(value, 2) for name, value in exponents.items()})


def measured(n_cells: int, n_cores: int) -> dict[str, float]:
    """One row: cells, and the seconds of each phase."""
    with tempfile.TemporaryDirectory() as folder:
        study_dir = Path(folder)
        file = study_file_of(n_cells, study_dir)
        row: dict[str, float] = {"cells": n_cells, "planning": seconds_of(lambda: plan(file, study_dir))}
        for phase, further in {"dry run": ["--dry-run"], "running": [], "nothing to do": []}.items():
            row[phase] = seconds_of(lambda further=further: run_no_jobs(study_dir, n_cores, further))  # type: ignore[misc]
        done = len(list(study_dir.glob("jobs/*/result.json")))
        assert done >= n_cells, f"{done} of {n_cells} cells were done"
        return row


def growth(cells: pd.Series, seconds: pd.Series) -> float:
    """The power of the number of cells that seconds grow as, by least squares of logarithms: 1 is linear."""
    return float(np.polyfit(np.log(cells), np.log(seconds), 1)[0])


def study_file_of(n_cells: int, folder: Path) -> Path:
    """A study of random initialisations by as many names as it takes, one seed more for every twenty cells."""
    stated = {
        "question": "How long does it take to do nothing?",
        "data": {"sim-a": {"data_source": "simulated"}},
        "initialisations": {f"random-{i}": {"weights": f"random{i}"} for i in range(5)},
        "architectures": ["convnext_mini"],
        "epsilons": [1, 3, 8, float("inf")],
        "seeds": list(range(n_cells // CELLS_A_SEED)),
        "mechanism": {"delta": 1.0e-5, "expected_batch_size": 256, "n_steps": 24, "max_grad_norm": 0.5},
    }
    file = folder / f"cells-{n_cells}.yml"
    file.write_text(yaml.safe_dump(stated))
    return file


def plan(file: Path, study_dir: Path) -> None:
    """Reads ``file`` and leaves the plan in ``study_dir``."""
    study = read_study(file)
    write_plan(study_dir, study, jobs_of(study))


def run_no_jobs(study_dir: Path, n_cores: int, further: Sequence[str]) -> None:
    """Has Snakemake do the plan as ``dpcxr study`` does, but for what a job does: in a process of its own."""
    text = (Path(by_snakemake.__file__).parent / "Snakefile").read_text()
    assert _REAL_JOB in text
    snakefile = study_dir / "Snakefile"
    snakefile.write_text(text.replace(_REAL_JOB, _NO_JOB))
    words = by_snakemake.snakemake_words(
        study_dir, cache_dir=study_dir / "cache", n_cores=n_cores, profile=by_snakemake.LOCAL
    )
    words[words.index("--snakefile") + 1] = str(snakefile)
    ran = subprocess.run(
        [sys.executable, "-c", _SNAKEMAKE, *words, *further], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


def seconds_of(action: Callable[[], None]) -> float:
    """Seconds that ``action`` takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
