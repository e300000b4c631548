"""The records of a study's runs as tidy tables, with every planned cell in them, done or not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from dpcxr_core.collecting.places_by_run import places_by_run
from dpcxr_core.collecting.shareable import shareable_claims, shareable_metrics
from dpcxr_core.collecting.tables_folder import StudyTables, runs_of, write_tables
from dpcxr_core.collecting.up_to_date import TABLES_FOLDER, made_of
from dpcxr_core.planning.cells import Cell, cell_name, cells_of, cells_table
from dpcxr_core.planning.jobs import LOG_FILE, RESULT_FILE, WEIGHTS_OF_BOOK, Job, is_done, job_folder, jobs_of, run_of
from dpcxr_core.planning.study_file import Study
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.study.handover import find_places
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.scored_cells import scored_cells
from dpcxr_core.study.verdicts import claims_table, verdict_per_claim
from dpcxr_core.tables import METRICS
from dpcxr_core.training.record import RunRecord, read_record

_PARTS = ("training", "loading")


@dataclass(frozen=True)
class _Finished:
    """A cell that is done: its record, the folder of it, how it is evaluated, and the seconds of the whole job."""

    cell: Cell
    folder: Path
    record: RunRecord
    places: StudyPlaces
    seconds: float


def collect_study(study: Study, study_dir: Path, n_jobs: int = 1, *, weights_dir: Path = WEIGHTS_OF_BOOK) -> Path:
    """``study_dir/tables``, now holding what the runs of ``study`` found so far.

    Promise:
        Every planned cell has a row: "done"; "failed" where it left a log and no result; or "missing". The same
        records give the same bytes, but for ``costs.parquet``. Tables that were there before are replaced as a whole.

    Args:
        study: The study.
        study_dir: Where its jobs leave their results.
        n_jobs: Processes that evaluate what is not evaluated yet.
        weights_dir: As of ``jobs_of``.
    """
    jobs = {job.cell: job for job in jobs_of(study, weights_dir) if job.cell is not None}
    made_from = made_of(study, jobs.values(), study_dir)  # first: what is done from here on makes the tables old
    cells = list(cells_of(study))
    states = [_state(study_dir, jobs[cell]) for cell in cells]
    done = [cell for cell, state in zip(cells, states, strict=True) if state == "done"]
    finished = {cell: _finished(cell, job_folder(study_dir, jobs[cell])) for cell in done}
    runs = {each.record.run_id: each for each in finished.values()}
    run_ids = [finished[cell].record.run_id if cell in finished else None for cell in cells]
    planned = cells_table(study).assign(state=states, run_id=pd.Series(run_ids, dtype=object))
    metrics = _metrics(list(runs.values()), n_jobs)
    places = places_by_run(study, study_dir, weights_dir)
    scored = scored_cells([each.folder for each in runs.values()], planned, places)
    claims = claims_table(scored, study.roles)
    tables = {
        "cells": planned,
        "runs": runs_of(each.record for each in runs.values()),
        "metrics": metrics,
        "claims": shareable_claims(claims, metrics),
        "verdicts": verdict_per_claim(claims),
        "costs": _costs(finished.values()),
    }
    records = {run_id: each.record for run_id, each in runs.items()}
    found = StudyTables((study.name,), study.evaluation, tables, records)
    return write_tables(study_dir / TABLES_FOLDER, found, made_from)


def _state(study_dir: Path, job: Job) -> Literal["done", "failed", "missing"]:
    """What became of the cell of ``job``."""
    if is_done(study_dir, job):
        return "done"
    return "failed" if (job_folder(study_dir, job) / LOG_FILE).is_file() else "missing"


def _finished(cell: Cell, folder: Path) -> _Finished:
    run, seconds = run_of(folder), json.loads((folder / RESULT_FILE).read_text())["seconds"]
    return _Finished(cell, run, read_record(run), find_places(folder), seconds)


def _metrics(runs: Sequence[_Finished], n_jobs: int) -> pd.DataFrame:
    """Shareable metrics, data set by data set, as counts are hidden among runs tested on the same images."""
    tables = [pd.DataFrame(columns=list(METRICS.columns))]
    for places in dict.fromkeys(each.places for each in runs):
        folders = [each.folder for each in runs if each.places == places]
        tables.append(shareable_metrics(metrics_table(folders, places, n_jobs)))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _costs(finished: Iterable[_Finished]) -> pd.DataFrame:
    """Seconds of each cell: of its job as a whole, and of the parts of its run, which may have been made before."""
    rows = [
        {"cell": cell_name(each.cell), "run_id": each.record.run_id, "job": each.seconds}
        | {part: each.record.seconds.get(part) for part in _PARTS}
        for each in finished
    ]
    return pd.DataFrame(rows, columns=["cell", "run_id", "job", *_PARTS])
