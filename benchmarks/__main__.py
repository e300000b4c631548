"""Every measurement in turn: ``make bench``, or a small part of each: ``python -m benchmarks --quick``.

Close other programs first. Tables are printed; the numbers behind them are written as CSV, with the machine, the
versions and the date of each file beside them in ``machine.json``. The chapter on speed reads these files.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch

from benchmarks.growth import measure_growth
from benchmarks.noise_and_loading import loading_times, noise_times
from benchmarks.peak_memory import default_jobs, memory_of_all
from benchmarks.private_step import measure_all
from benchmarks.provenance import keep
from benchmarks.settings import FULL, QUICK, Plan, exact_compute
from dpcxr_core.provenance import PROJECT_FOLDER, git_state
from dpcxr_core.publishing.chapters import speed_limits, speed_tables
from dpcxr_core.publishing.chapters.speed_tables import read_results
from dpcxr_core.training.device import Compute

RESULTS = PROJECT_FOLDER / "benchmarks" / "results"
QUICK_RESULTS = PROJECT_FOLDER / ".cache" / "benchmarks" / "quick"  # never in place of the real ones
PARTS = ("steps", "memory", "growth", "noise", "loading")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="small networks and few rounds: does everything run?")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="leave the files of the others")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; 1 counts CPU time, more the wall's")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="processes at once where memory is measured")
    parser.add_argument("--out", type=Path, help=f"folder of the CSV files; {RESULTS.name} of this folder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    out = options.out or (QUICK_RESULTS if options.quick else RESULTS)
    measure(out, QUICK if options.quick else FULL, options.only, options.jobs)
    show(out)


def measure(out: Path, plan: Plan, parts: Sequence[str], jobs: int) -> None:
    """Writes the CSV files of each of ``parts`` to ``out`` as soon as it is measured, and ``machine.json``."""
    out.mkdir(parents=True, exist_ok=True)
    compute, commit = exact_compute(), git_state()  # before files of the repository change
    ways = _ways(plan, compute, jobs)
    for part in parts:
        started = time.monotonic()
        tables = ways[part]()
        keep(out, tables, compute, (time.monotonic() - started) / 60, commit)


def _ways(plan: Plan, compute: Compute, jobs: int) -> dict[str, Callable[[], dict[str, pd.DataFrame]]]:
    """How each part is measured: tables by the name of their file."""
    rounds = plan.other_rounds
    return {
        "steps": lambda: dict(zip(("step_times", "step_facts"), measure_all(plan, compute), strict=True)),
        "memory": lambda: {"memory": memory_of_all(plan.memory, jobs)},
        "growth": lambda: {"growth": measure_growth(plan, compute, jobs)},
        "noise": lambda: {"noise": noise_times(rounds)},
        "loading": lambda: {"loading": loading_times(list(plan.steps), rounds)},
    }


def show(out: Path) -> None:
    """Prints every table of the results in ``out``."""
    found = read_results(out)
    costs = speed_tables.step_costs(found)
    for heading, table in (
        ("Measured", speed_tables.show_machine(found)),
        ("Time of a step, best without privacy = 1", speed_tables.show_ratios(costs)),
        ("The same in milliseconds", speed_tables.show_milliseconds(costs)),
        ("Relative error of the gradient sum", speed_tables.show_errors(costs)),
        ("Memory, and beside the ordinary step", speed_tables.show_memory(costs)),
        ("Beside Opacus and the patient unit", speed_tables.show_comparisons(speed_tables.comparisons(found))),
        ("Limits", speed_limits.show_limits(speed_limits.limits(found))),
        ("Growth", speed_tables.show_growth(speed_tables.growth_points(found))),
        ("Noise", speed_tables.show_noise(found)),
        ("Loading", speed_tables.show_loading(found)),
    ):
        print(f"\n{heading}\n{table.to_string()}")


if __name__ == "__main__":
    main()
