"""What a job leaves when it is done: ``result.json`` in its folder, last of all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from dpcxr_core.config import UserError
from dpcxr_core.data.store import read_description
from dpcxr_core.files import write_json
from dpcxr_core.planning.jobs import RESULT_FILE, Job, is_done, job_folder, run_of
from dpcxr_core.provenance import PROJECT_FOLDER, from_project
from dpcxr_core.study.handover import find_initialisations, find_places
from dpcxr_core.study.scores import missing_scores

_TRAINED_FILE = "trained.json"


def leave_result(folder: Path, seconds: float, run: Path | None = None) -> None:
    """Leave that the job of ``folder`` is done, after ``seconds``; and the record folder, where it is a cell."""
    write_json(folder / RESULT_FILE, {"run": from_project(run) if run else None, "seconds": seconds})


def leave_trained(run_dir: Path, run: Path) -> None:
    """Leave which record the chapter that trains one run made, or found."""
    write_json(run_dir / _TRAINED_FILE, {"run": from_project(run)})


def trained_in(run_dir: Path) -> Path:
    """Record folder that ``leave_trained`` named."""
    return PROJECT_FOLDER / json.loads((run_dir / _TRAINED_FILE).read_text())["run"]


def forget_lost(study_dir: Path, jobs: Iterable[Job]) -> None:
    """Takes back the results of jobs whose stores, weights, records or scores are no longer there, as after a clean-up.

    So are those of jobs that started from weights which have to be made again, and may then be others.

    Args:
        study_dir: Of the study.
        jobs: What a job needs comes before it.
    """
    weights_to_make: set[str] = set()
    for job in jobs:
        folder, done = job_folder(study_dir, job), is_done(study_dir, job)
        if done and not (_is_there(job, folder) and weights_to_make.isdisjoint(job.needs)):
            (folder / RESULT_FILE).unlink()
            done = False
        if not done and job.kind != "data":
            weights_to_make.add(job.name)


def _is_there(job: Job, folder: Path) -> bool:
    """Whether all is there that the job of ``folder`` made."""
    try:
        places = find_places(folder)
        weights = find_initialisations(folder) if job.kind == "standins" else []
        if job.kind == "cell":
            return not missing_scores(run_of(folder), places)
        if job.kind == "data":
            for name in (places.public_dataset, *places.test_datasets):
                read_description(places.store(name))  # a purge may delete files and leave the folders
            return True
    except UserError:  # the record, a store, or the file that says where things are is itself lost
        return False
    keys = [name.partition("@")[2] for name in weights if "@" in name]
    return all((places.weights / f"{key}.safetensors").is_file() for key in keys)
