"""What ``machine.json`` says: where and when each file was measured, and whether they hold all of the plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.growth import growth_settings
from benchmarks.made import this_machine
from benchmarks.private_step import clock_of
from benchmarks.settings import FULL, Plan, Setting
from dpcxr_core.files import write_json
from dpcxr_core.provenance import versions
from dpcxr_core.publishing.chapters.speed_tables import MACHINE_FILE
from dpcxr_core.training.device import Compute

_SETTING = ["architecture", "size", "batch"]


def keep(out: Path, tables: Mapping[str, pd.DataFrame], compute: Compute, minutes: float, commit: str) -> None:
    """Writes ``tables`` as CSV to ``out``, with where and when they were measured, in ``minutes``, by ``commit``.

    Files measured earlier stay vouched for where machine, versions and clock are the same; others are forgotten.
    """
    machine = about_machine(compute)
    before = json.loads((out / MACHINE_FILE).read_text()) if (out / MACHINE_FILE).is_file() else {}
    files = before.get("files", {}) if all(before.get(key) == value for key, value in machine.items()) else {}
    (out / MACHINE_FILE).unlink(missing_ok=True)  # it vouches for files that are about to change
    for name, table in tables.items():
        table.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
        date = datetime.now(UTC).date().isoformat()
        files[name] = {"date": date, "commit": commit, "minutes": round(minutes / len(tables), 1)}
    measured = {name: pd.read_csv(out / f"{name}.csv") for name in files}
    write_json(out / MACHINE_FILE, machine | _summary(files) | {"thorough": thorough(measured), "files": files})


def _summary(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    dates = sorted({file["date"] for file in files.values()})
    return {
        "date": dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}",
        "commit": ", ".join(dict.fromkeys(file["commit"] for file in files.values())),
        "minutes": round(sum(file["minutes"] for file in files.values()), 1),
    }


def about_machine(compute: Compute) -> dict[str, Any]:
    """Where it is measured, and how."""
    return {
        **this_machine(),
        "device": torch.cuda.get_device_name(compute.device) if compute.on_gpu else "CPU",
        "threads": torch.get_num_threads(),
        "clock": clock_of(compute),
        "versions": versions(),
    }


def thorough(tables: Mapping[str, pd.DataFrame], plan: Plan = FULL) -> str:
    """Whether ``tables``, by file, hold all that ``plan`` asks for, and which do not."""
    short = [
        name
        for name, (columns, asked) in _asked(plan).items()
        if name not in tables or not asked <= set(tables[name][columns].itertuples(index=False, name=None))
    ]
    return f"in part (less than planned of {', '.join(short)})" if short else "in full"


def _asked(plan: Plan) -> dict[str, tuple[list[str], set[tuple]]]:
    """Of each file some columns, and what is found in them after ``plan`` was carried out."""

    def in_rounds(settings: Mapping[Setting, int]) -> set[tuple]:
        return {(*one.columns.values(), turn) for one, rounds in settings.items() for turn in range(rounds)}

    growth = {
        (sweep, *one.columns.values(), turn)
        for sweep, settings in growth_settings(plan).items()
        for one in settings
        for turn in range(plan.growth_rounds)
    }
    steps = {setting: rounds for setting, (rounds, _) in plan.steps.items()}
    settings = {tuple(setting.columns.values()) for setting in plan.steps}
    return {
        "step_times": ([*_SETTING, "round"], in_rounds(steps)),
        "step_facts": (_SETTING, settings),
        "memory": (_SETTING, {tuple(setting.columns.values()) for setting in plan.memory}),
        "growth": (["sweep", *_SETTING, "round"], growth),
        "noise": (["round"], {(turn,) for turn in range(plan.other_rounds)}),
        "loading": ([*_SETTING, "round"], in_rounds(dict.fromkeys(plan.steps, plan.other_rounds))),
    }
