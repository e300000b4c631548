"""Every measurement in turn: ``make bench``, or in a few minutes ``python -m benchmarks --quick``.

Close other programs first. Tables are printed; the numbers behind them are written as CSV, with the machine, the
versions and the date beside them in ``machine.json``. The chapter on speed reads these files.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.growth import measure_growth
from benchmarks.noise_and_loading import loading_times, noise_times
from benchmarks.peak_memory import default_jobs, memory_of_all
from benchmarks.private_step import clock_of, measure_all
from benchmarks.settings import FULL, QUICK, exact_compute
from dpcxr_core.files import write_json
from dpcxr_core.provenance import PROJECT_FOLDER, git_state, versions
from dpcxr_core.publishing import speed_tables
from dpcxr_core.publishing.speed_tables import read_results
from dpcxr_core.training.device import Compute

RESULTS = PROJECT_FOLDER / "benchmarks" / "results"
QUICK_RESULTS = PROJECT_FOLDER / ".cache" / "benchmarks" / "quick"  # never in place of the real ones


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="small networks and few rounds: does everything run?")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; 1 counts CPU time, more the wall's")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="processes at once where memory is measured")
    parser.add_argument("--out", type=Path, help=f"folder of the CSV files; {RESULTS.name} of this folder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    out = options.out or (QUICK_RESULTS if options.quick else RESULTS)
    measure(out, quick=options.quick, jobs=options.jobs)
    show(out)


def measure(out: Path, *, quick: bool, jobs: int) -> None:
    """Writes every CSV to ``out`` as soon as it is measured, and ``machine.json`` at the end."""
    out.mkdir(parents=True, exist_ok=True)
    plan, compute, started = (QUICK if quick else FULL), exact_compute(), time.monotonic()
    (out / speed_tables.MACHINE_FILE).unlink(missing_ok=True)  # it vouches for files that are about to change

    def keep(name: str, table: pd.DataFrame) -> None:
        table.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")

    times, facts = measure_all(plan, compute)
    keep("step_times", times)
    keep("step_facts", facts)
    keep("memory", memory_of_all(plan.memory, jobs))
    keep("growth", measure_growth(plan, compute, jobs))
    keep("noise", noise_times(rounds=3 if quick else 9))
    keep("loading", loading_times(list(plan.steps), rounds=3 if quick else 9))
    minutes = (time.monotonic() - started) / 60
    write_json(out / speed_tables.MACHINE_FILE, about_machine(compute, quick=quick, minutes=minutes))


def about_machine(compute: Compute, *, quick: bool, minutes: float) -> dict[str, Any]:
    """Where and when it was measured, and how."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "device": torch.cuda.get_device_name(compute.device) if compute.on_gpu else "CPU",
        "threads": torch.get_num_threads(),
        "clock": clock_of(compute),
        "thorough": "quick, for trying out" if quick else "in full",
        "minutes": round(minutes, 1),
        "commit": git_state(),
        "versions": versions(),
    }


def _processor() -> str:
    """As the processor names itself; the architecture where it does not."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show(out: Path) -> None:
    """Prints every table of the results in ``out``."""
    found = read_results(out)
    costs = speed_tables.step_costs(found)
    for heading, table in (
        ("Measured", speed_tables.show_machine(found)),
        ("One step", speed_tables.show_step_costs(costs)),
        ("Beside Opacus and the patient unit", speed_tables.show_comparisons(speed_tables.comparisons(found))),
        ("Growth", speed_tables.show_growth(speed_tables.growth_points(found))),
        ("Noise", speed_tables.show_noise(found)),
        ("Loading", speed_tables.show_loading(found)),
    ):
        print(f"\n{heading}\n{table.to_string()}")


if __name__ == "__main__":
    main()
