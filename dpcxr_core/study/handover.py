"""What one chapter leaves in the run folder for the chapters after it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.files import write_json
from dpcxr_core.provenance import PROJECT_FOLDER, from_project
from dpcxr_core.study.places import FOLDERS, StudyPlaces, evaluation_from


@dataclass(frozen=True, eq=False)
class FoundStudy:
    """A study with what of it has run: all that ``scored_cells`` takes.

    Attributes:
        file: The study file.
        cells: One row a planned cell, as ``collecting`` tables them, with ``state`` and ``run_id``.
        folders: Record folders of the cells that ran.
        places: Of each run, by run_id.
    """

    file: Path
    cells: pd.DataFrame
    folders: Sequence[Path]
    places: Mapping[str, StudyPlaces]


def leave_places(run_dir: Path, places: StudyPlaces) -> None:
    """Leave where the study's images, weights and runs are, and how runs are evaluated."""
    write_json(run_dir / "places.json", _values_of(places))


def find_places(run_dir: Path) -> StudyPlaces:
    """Where the study's images, weights and runs are, and how runs are evaluated; left by the data chapter."""
    return _places_from(_read(run_dir, "places.json", "11_data_preparation"))


def leave_own_store(run_dir: Path, store: Path) -> None:
    """Leave where the images of a hospital's own export are, that one chapter shows and no run is trained on."""
    write_json(run_dir / "own_store.json", {"store": from_project(store)})


def find_own_store(run_dir: Path) -> Path | None:
    """The store that ``leave_own_store`` left, if any."""
    file = run_dir / "own_store.json"
    return PROJECT_FOLDER / json.loads(file.read_text())["store"] if file.is_file() else None


def leave_specifications(run_dir: Path, specifications: Mapping[float, PrivacySpecification]) -> None:
    """Leave the privacy specification of every target epsilon."""
    rows = [{"target_epsilon": epsilon, **asdict(each)} for epsilon, each in specifications.items()]
    write_json(run_dir / "specifications.json", rows)


def find_specifications(run_dir: Path) -> dict[float, PrivacySpecification]:
    """The privacy specifications by target epsilon, ascending; left by the calibration chapter."""
    found = {}
    for row in _read(run_dir, "specifications.json", "14_noise_calibration"):
        epsilon = row.pop("target_epsilon")
        found[epsilon] = PrivacySpecification(**row)
    return dict(sorted(found.items()))


def find_specification(run_dir: Path, target_epsilon: float) -> PrivacySpecification:
    """The privacy specification of one target epsilon.

    Raises:
        UserError: It was not calibrated for.
    """
    found = find_specifications(run_dir)
    if target_epsilon not in found:
        raise UserError(
            f"nothing was calibrated for target_epsilon {target_epsilon:g}, only for {list(found)}; "
            "add it to target_epsilons of the chapter 14_noise_calibration"
        )
    return found[target_epsilon]


def leave_initialisations(run_dir: Path, names: Sequence[str]) -> None:
    """Leave the full names of the initialisations to compare; the last is the domain one."""
    write_json(run_dir / "initialisations.json", list(names))


def find_initialisations(run_dir: Path) -> list[str]:
    """Full names of the initialisations to compare, the domain one last; left by the pretraining chapter."""
    return _read(run_dir, "initialisations.json", "15_initialisations")


def find_initialisation(run_dir: Path, tag: str) -> str:
    """Full name of the one initialisation whose name holds ``tag``.

    Raises:
        UserError: None does, or several do.
    """
    names = find_initialisations(run_dir)
    found = [name for name in names if tag in name]
    if len(found) != 1:
        raise UserError(f"{len(found)} initialisations have {tag!r} in their name; choose one of {names}")
    return found[0]


def leave_runs(run_dir: Path, folders: Sequence[Path]) -> None:
    """Leave the record folders of the comparison."""
    write_json(run_dir / "comparison.json", [from_project(folder) for folder in folders])


def find_runs(run_dir: Path) -> list[Path]:
    """Record folders of the comparison; left by the comparison chapter."""
    return [PROJECT_FOLDER / folder for folder in _read(run_dir, "comparison.json", "22_comparison")]


def leave_study(run_dir: Path, study_file: Path, tables: Path, places: Mapping[str, StudyPlaces]) -> None:
    """Leave which study was run, its folder of tables, and the places of its runs by run_id."""
    found = {run_id: _values_of(each) for run_id, each in places.items()}
    where = {"study_file": from_project(study_file.resolve()), "tables": from_project(tables.resolve())}
    write_json(run_dir / "study.json", {**where, "places_by_run": found})


def find_study(run_dir: Path) -> FoundStudy:
    """The study and what of it has run; left by the study chapter."""
    left = _read(run_dir, "study.json", "23_study")
    if "places_by_run" not in left:
        raise UserError("an older version left no places of runs; run the chapter 23_study again")
    places = {run_id: _places_from(values) for run_id, values in left["places_by_run"].items()}
    cells = pd.read_parquet(PROJECT_FOLDER / left["tables"] / "cells.parquet")
    folders = [each.runs / run_id for run_id, each in places.items()]
    return FoundStudy(PROJECT_FOLDER / left["study_file"], cells, folders, places)


def _values_of(places: StudyPlaces) -> dict[str, Any]:
    return {**asdict(places), **{name: from_project(getattr(places, name)) for name in FOLDERS}}


def _places_from(values: Mapping[str, Any]) -> StudyPlaces:
    if missing := [name for name in FOLDERS if name not in values]:
        raise UserError(
            f"an older version left no place for {', '.join(missing)}; run the chapter 11_data_preparation again"
        )
    folders = {name: PROJECT_FOLDER / values[name] for name in FOLDERS}
    external, evaluation = tuple(values["external_datasets"]), evaluation_from(values["evaluation"])
    return StudyPlaces(**{**values, **folders, "external_datasets": external, "evaluation": evaluation})


def _read(run_dir: Path, name: str, chapter: str) -> Any:
    path = Path(run_dir) / name
    if not path.is_file():
        raise UserError(f"{path} is missing; run the chapter {chapter} with this run_dir first")
    return json.loads(path.read_text())
