"""What a study would do, in plain text: its grid, every cell, files that are missing, and what it all costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from dpcxr_core.planning import measured_speed
from dpcxr_core.planning.cells import Cell, cell_name, cells_of
from dpcxr_core.planning.costs import (
    SECONDS_PER_JOB,
    WATTS_PER_CORE,
    WATTS_PER_GPU,
    cost_table,
    costs_by,
    store_table,
)
from dpcxr_core.planning.first_costs import first_cost_table
from dpcxr_core.planning.jobs import Job, is_done
from dpcxr_core.planning.missing_files import missing_files
from dpcxr_core.planning.study_file import Study

DONE, TO_DO = "done", "to do"
_AXES = ("data", "initialisations", "own_heads", "architectures", "epsilons", "units", "fractions", "seeds")
_SETTINGS = ("image_recipe", "normalisation")


def print_dry_run(study: Study, jobs: Sequence[Job], study_dir: Path, *, cache_dir: Path) -> None:
    """Prints the grid, every cell with its state, missing files with access steps, and costs; runs nothing."""
    for line in dry_run_lines(study, jobs, study_dir, cache_dir=cache_dir):
        print(line)


def dry_run_lines(study: Study, jobs: Sequence[Job], study_dir: Path, *, cache_dir: Path) -> Iterator[str]:
    """The lines that ``print_dry_run`` prints."""
    cells = cells_of(study)
    states = {job.cell or job.name: DONE if is_done(study_dir, job) else TO_DO for job in jobs}
    costs, first = cost_table(cells, study), first_cost_table(jobs)
    costs, first = costs.assign(state=[states[cell] for cell in cells]), first.assign(state=first["job"].map(states))
    yield f"Study {study.name} ({study.path}): {study.question}"
    yield from _section("Grid; each line: what the main grid and every ablation cross", _grid_lines(study))
    yield from _section("Jobs before the cells", _table_lines(first_costs_shown(first).assign(state=first["state"])))
    yield from _section(f"Cells: {len(cells)}", _table_lines(_cells_shown(cells, costs)))
    yield from _section("Missing files", _missing_lines(missing_files(study, cache_dir / "weights")))
    stores = store_table(cells, study)
    yield from _section("Images by data set", _store_lines(stores))
    for column in ("grid", "dataset", "architecture"):
        yield from _section(f"Cost by {column}", _table_lines(costs_shown(costs_by(costs, column))))
    yield from _section("In sum", _sum_lines(costs, first, stores))
    yield from _section("What these costs rest on", _basis_lines(costs))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield from ("", title, "-" * len(title))
    yield from lines


def _grid_lines(study: Study) -> Iterator[str]:
    for name, grid in study.grids.items():
        main = study.main
        axes = [axis for axis in (*_AXES, *_SETTINGS) if grid is main or getattr(grid, axis) != getattr(main, axis)]
        yield f"{name}:"
        for axis in axes:
            yield f"  {axis}: {_listed(getattr(grid, axis))}"
        for setting in ("mechanism", "recipe"):
            if grid is main or getattr(grid, setting) != getattr(main, setting):
                yield f"  {setting}: {getattr(grid, setting)}"


def _listed(values: str | Sequence[str | float]) -> str:
    if isinstance(values, str):
        return values
    return ", ".join(value if isinstance(value, str) else f"{value:g}" for value in values) or "none"


def _cells_shown(cells: Mapping[Cell, tuple[str, ...]], costs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "cell": [cell_name(cell) for cell in cells],
            "grids": [",".join(grids) for grids in cells.values()],
            "state": costs["state"],
            "device": costs["device"],
            "time": costs["seconds"].map(_time),
        }
    )


def _missing_lines(missing: pd.DataFrame) -> Iterator[str]:
    if missing.empty:
        yield "None."
    for name, rows in missing.groupby("needed_for", sort=False):
        yield f"{name}:"
        for row in rows.to_dict("records"):
            yield f"  missing: {row['what']}, looked for in {row['where']}"
        for number, step in enumerate(dict.fromkeys(step for steps in rows["steps"] for step in steps), start=1):
            yield f"  {number}. {step}"


def _store_lines(stores: pd.DataFrame) -> Iterator[str]:
    counts = {name: stores[name].map(_count) for name in ("train", "valid", "test")}
    shown = stores.assign(**counts, GB=(stores["disk_bytes"] / 1e9).map(_number))
    yield from _table_lines(shown[["dataset", "image_recipe", "image_size", *counts, "GB"]])
    for dataset, rows in stores.groupby("dataset", sort=False):
        yield f"{dataset}: {rows['source'].iloc[0]}"


def costs_shown(costs: pd.DataFrame) -> pd.DataFrame:
    """``costs_by`` in words, for a page or a terminal; what it was summed by is the first column."""
    return pd.DataFrame(
        {
            "cells": costs["cells"],
            "million images trained on": (costs["images_trained"] / 1e6).map(_number),
            "scored": (costs["images_scored"] / 1e6).map(_number),
            "GPU hours": costs["gpu_hours"].map(_number),
            "core hours": costs["core_hours"].map(_number),
            "GB": (costs["disk_bytes"] / 1e9).map(_number),
            "kWh": costs["kwh"].map(_number),
        }
    ).reset_index()


def first_costs_shown(first: pd.DataFrame) -> pd.DataFrame:
    """``first_cost_table`` in words, for a page or a terminal."""
    return pd.DataFrame(
        {
            "job": first["job"],
            "images": first["images"].map(_count),
            "core hours": first["core_hours"].map(_number),
            "kWh": first["kwh"].map(_number),
            "rests on": first["basis"],
        }
    )


def _sum_lines(costs: pd.DataFrame, first: pd.DataFrame, stores: pd.DataFrame) -> Iterator[str]:
    for name, states in (("all", [DONE, TO_DO]), (TO_DO, [TO_DO])):
        cells, before = (table[table["state"].isin(states)] for table in (costs, first))
        gpu, core, kwh = (_number(cells[column].sum(skipna=False)) for column in ("gpu_hours", "core_hours", "kwh"))
        yield f"{name}: {len(cells)} cells, {gpu} GPU hours, {core} core hours, {kwh} kWh"
        core, kwh = (_number(before[column].sum(skipna=False)) for column in ("core_hours", "kwh"))
        yield f"{name} before the cells: {len(before)} jobs, {core} core hours, {kwh} kWh"
    disk = [_number(table["disk_bytes"].sum(skipna=False) / 1e9) for table in (stores, costs)]
    yield f"disk: {disk[0]} GB of stores, {disk[1]} GB of records, scores and evaluations"


def _basis_lines(costs: pd.DataFrame) -> Iterator[str]:
    for basis, number in costs["basis"].value_counts(sort=False).items():
        yield f"{number} cells: {basis}"
    yield (
        "Measured by benchmarks.at_scale: before each training every byte of its store is compared with its checksum, "
        f"{measured_speed.checked_per_second() / 1e9:.2g} GB a second; by benchmarks.preparing: "
        f"{measured_speed.pictures_read_per_second():.0f} pictures of 1024 x 1024 px read a second by one core. Seen, "
        f"and not among the results of benchmarks: {measured_speed.PIXELS_DRAWN:,.0f} pixels drawn."
    )
    yield (
        f"Assumed, not measured: {WATTS_PER_GPU} W a GPU, {WATTS_PER_CORE} W a core, {SECONDS_PER_JOB:g} s to start a "
        f"job; a GPU is an {measured_speed.GPU} of {measured_speed.GPU_FLOPS / 1e12:g} TFLOP/s at "
        f"{measured_speed.GPU_UTILISATION:.0%}. Nothing of this project was timed on a GPU: expect a factor of two."
    )
    yield "Not counted: generating scenes, and looking at stand-ins before they are used."
    yield "A run that the book or another study recorded is found again and costs its start alone."


def _table_lines(table: pd.DataFrame) -> Iterator[str]:
    if table.empty:
        yield "None."
    else:
        yield from table.to_string(index=False, na_rep="not known").splitlines()


def _number(value: float) -> str:
    """Three digits or, above, whole numbers; "not known" for NaN."""
    if pd.isna(value):
        return "not known"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _count(value: float) -> str:
    return "not known" if pd.isna(value) else f"{value:,.0f}"


def _time(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{_number(seconds / length)} {unit}"
    return _number(seconds) + ("" if pd.isna(seconds) else " s")
