"""What a study plans, costs and has done, as readers see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.planning.grid import Grid
from dpcxr_core.planning.study_file import MAIN, Study
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.publishing.tables import two_columns

AT_SCALE, SCHEDULING = ("at_scale_store", "at_scale_evaluation"), "scheduling.csv"
PREPARING, LOADING = "preparing.csv", "loading_rates.csv"
_KINDS = {"private": "with privacy", "non_private": "without privacy", "public_only": "public data only"}
_STATES = ("done", "failed", "missing")


def show_initialisations(study: Study) -> pd.DataFrame:
    """What each short name of an initialisation stands for, and the part it plays in the paper's claims."""
    roles = {name: role.replace("_", "-") for role, name in study.roles.items()}
    return pd.DataFrame(
        {
            "initialisation": list(study.initialisations),
            "weights": [
                choice.weights or f"trained on {choice.trained_on} from {choice.start}"
                for choice in study.initialisations.values()
            ],
            "role in the claims": [roles.get(name, "") for name in study.initialisations],
        }
    ).set_index("initialisation")


def show_main_grid(study: Study) -> pd.DataFrame:
    """The main grid: what its axes cross and the settings that its cells share; what is not stated is left out."""
    values = {_words(name): each for name, each in _values(study.main).items() if each is not None}
    return two_columns({name: _listed(each) for name, each in values.items()}, "main grid", "value")


def show_ablations(study: Study) -> pd.DataFrame:
    """What each ablation has in place of the main grid's."""
    main = _values(study.main)
    changes = {
        name: "; ".join(
            f"{_words(field)}: {_listed(value)}" for field, value in _values(grid).items() if value != main[field]
        )
        for name, grid in study.grids.items()
        if name != MAIN
    }
    return two_columns(changes, "ablation", "in place of the main grid's")


def show_counts(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells by grid and kind; one that several grids ask for counts in each, and once in the last row.

    Args:
        cells: ``cells_table``.
    """
    of_grids = cells.assign(grid=cells["grids"].str.split(", ")).explode("grid")
    counts = _counted(of_grids, "kind", list(_KINDS))
    counts.loc["all, each once"] = cells["kind"].value_counts().reindex(list(_KINDS), fill_value=0)
    return counts.rename(columns=_KINDS).assign(cells=counts.sum(axis=1))


def show_states(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells by grid and state.

    Args:
        cells: ``cells_table`` with ``state``.
    """
    of_grids = cells.assign(grid=cells["grids"].str.split(", ")).explode("grid")
    return _counted(of_grids, "state", list(_STATES))


def show_basis(costs: pd.DataFrame) -> pd.DataFrame:
    """What the costs of how many cells rest on."""
    return two_columns(
        {str(basis): n for basis, n in costs["basis"].value_counts(sort=False).items()},
        "seconds of an image are",
        "cells",
    )


def missing_files_in_words(missing: pd.DataFrame) -> str:
    """The files that the study needs and that are not there, a line each, and where they were looked for."""
    if missing.empty:
        return "No file is missing."
    rows = missing[["needed_for", "what", "where"]].itertuples(index=False)
    return "\n".join(f"- {needed_for}: {what}, looked for in `{where}`" for needed_for, what, where in rows)


def show_at_scale(results_dir: str | Path) -> pd.DataFrame:
    """What the benchmark of the study's full size measured, a row a quantity; empty where it was not run.

    Args:
        results_dir: Where ``python -m benchmarks.at_scale`` wrote, seen from the project.
    """
    files = [PROJECT_FOLDER / results_dir / f"{name}.csv" for name in AT_SCALE]
    rows = pd.concat([pd.DataFrame(columns=["part", "quantity", "value", "unit"]), *_read(files)])
    shown = [_amount(value, unit) for value, unit in zip(rows["value"], rows["unit"], strict=True)]
    return rows[["part", "quantity"]].assign(measured=shown).set_index(["part", "quantity"])


def show_preparing(results_dir: str | Path) -> pd.DataFrame:
    """Time and memory of preparing pictures, by how many they are; empty where it was not measured.

    Args:
        results_dir: Where ``python -m benchmarks.preparing`` wrote, seen from the project.
    """
    columns = {
        "images": ("images", ""),
        "processes": ("jobs", ""),
        "seconds": ("seconds", ""),
        "seconds of all cores": ("cpu_seconds", ""),
        "memory of the process that writes": ("parent_bytes", "bytes"),
        "memory of each that reads": ("worker_bytes", "bytes"),
    }
    return _amounts(PROJECT_FOLDER / results_dir / PREPARING, columns, ["images"])


def show_loading(results_dir: str | Path) -> pd.DataFrame:
    """Images a second that random batches bring from a store; empty where it was not measured.

    Args:
        results_dir: As ``show_preparing``.
    """
    columns = {
        **{name: (name, "") for name in ("source", "what", "processes")},
        "images a second": ("images_per_second", ""),
    }
    return _amounts(PROJECT_FOLDER / results_dir / LOADING, columns, ["source", "what", "processes"])


def _amounts(file: Path, columns: Mapping[str, tuple[str, str]], index: list[str]) -> pd.DataFrame:
    """The table in ``file`` under the names of ``columns``, each of which is (its column there, unit)."""
    rows = pd.concat([pd.DataFrame(columns=[name for name, _ in columns.values()]), *_read([file])])
    shown = {
        words: [each if isinstance(each, str) else _amount(each, unit) for each in rows[name]]
        for words, (name, unit) in columns.items()
    }
    return pd.DataFrame(shown).set_index(index)


def show_scheduling(results_dir: str | Path) -> pd.DataFrame:
    """Seconds to plan and schedule cells that do nothing, by the number of cells; empty where it was not measured.

    Args:
        results_dir: Where ``python -m benchmarks.scheduling`` wrote, seen from the project.
    """
    rows = pd.concat([pd.DataFrame(columns=["cells"]), *_read([PROJECT_FOLDER / results_dir / SCHEDULING])])
    seconds = rows.drop(columns="cells").map("{:,.1f} s".format)
    return seconds.assign(cells=[f"{cells:,.0f}" for cells in rows["cells"]]).set_index("cells")


def _read(files: list[Path]) -> list[pd.DataFrame]:
    return [pd.read_csv(file) for file in files if file.is_file()]


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e9:,.1f} GB"
    words = "a second" if unit == "1/s" else unit
    return f"{value:,.0f} {words}".strip() if value >= 100 else f"{value:.3g} {words}".strip()


def _counted(of_grids: pd.DataFrame, column: str, values: list[str]) -> pd.DataFrame:
    counts = of_grids.groupby(["grid", column], sort=False).size().unstack(fill_value=0)
    return counts.reindex(index=of_grids["grid"].unique(), columns=values, fill_value=0).rename_axis(columns=None)


def _values(grid: Grid) -> dict[str, Any]:
    """The fields of ``grid``, those of its mechanism and recipe among them."""
    values = {field.name: getattr(grid, field.name) for field in fields(grid)}
    nested: Mapping[str, Any] = {name: values.pop(name) for name in ("mechanism", "recipe")}
    inner = {field.name: getattr(each, field.name) for each in nested.values() for field in fields(each)}
    return {**values, **inner}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _listed(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_listed, value)) or "none"
    if isinstance(value, float):
        return "no privacy" if value == float("inf") else f"{value:g}"
    return str(value)
