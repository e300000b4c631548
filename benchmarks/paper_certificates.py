"""The noise that the paper's private trainings needed, and what its published configuration spends by the epoch.

Run with ``python -m benchmarks.paper_certificates [--jobs 2]``; some minutes. Two tables go to ``benchmarks/results``,
with where they were made beside them. The chapter on certificates shows them and recomputes a row. Answers are
remembered in ``.cache/accounting``, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.made import write_made
from dpcxr_core.accounting.paper import PaperSetting, noise_needed, paper_settings, spent_by_epoch
from dpcxr_core.accounting.remembered import remembered
from dpcxr_core.provenance import PROJECT_FOLDER, git_state
from dpcxr_core.workers import worker_pool

RESULTS = PROJECT_FOLDER / "benchmarks" / "results"
DELTA, N_EPOCHS = 6e-6, 150  # of the authors' code
TARGETS = (0.9, 2.9, 9.5)  # just inside the ranges that the paper reports
BATCH_SIZES = (128, 1024)  # of the authors' configuration, and one that suits privacy better
CONFIGURED_TARGET, CONFIGURED_BATCHES = 11.0, (64, 128)  # of the authors' configuration, which is not always read
EPOCHS = (1, 5, 20, 50, 100, 150)


def needed(setting: PaperSetting) -> dict:
    """The row of ``setting``, remembered, with the processor seconds that it took."""
    return remembered("paper-noise", asdict(setting), partial(_timed, setting))


def _timed(setting: PaperSetting) -> dict:
    started = time.process_time()
    return noise_needed(setting) | {"seconds": time.process_time() - started}


def spent(setting: PaperSetting) -> list[dict]:
    """The rows of ``setting`` by the epoch, remembered."""
    values = asdict(setting) | {"epochs": list(EPOCHS)}
    return remembered("paper-spent", values, lambda: spent_by_epoch(setting, EPOCHS))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper_certificates", description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    commit = git_state()
    configured = paper_settings([CONFIGURED_TARGET], CONFIGURED_BATCHES, N_EPOCHS, DELTA)
    with worker_pool(options.jobs) as pool:
        noise = pool.map(needed, paper_settings(TARGETS, BATCH_SIZES, N_EPOCHS, DELTA))
        ladder = pool.map(spent, [setting for setting in configured if setting.privacy_unit == "image"])
        tables = {
            "paper_certificates": pd.DataFrame(list(noise)),
            "paper_configuration": pd.DataFrame([row for rows in ladder for row in rows]),
        }
    for name, table in tables.items():
        table.to_csv(options.out / f"{name}.csv", index=False, float_format="%.8g")
        print(table.to_string())
    write_made(options.out / "paper_certificates.json", commit)


if __name__ == "__main__":
    main()
