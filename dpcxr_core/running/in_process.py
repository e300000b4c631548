"""A study without notebooks, within one process and its workers: how the book runs it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from dpcxr_core.planning.cells import cells_of
from dpcxr_core.planning.jobs import LOG_FILE, Job, is_done, job_folder, jobs_of, run_of
from dpcxr_core.planning.study_file import Study
from dpcxr_core.running.cell_config import config_of
from dpcxr_core.running.holding import study_held
from dpcxr_core.running.results import forget_lost, leave_result
from dpcxr_core.running.study_places import data_places, study_places
from dpcxr_core.study.data_choice import DataChoice
from dpcxr_core.study.handover import leave_initialisations, leave_places
from dpcxr_core.study.preparation import prepare_study
from dpcxr_core.study.runs import run_one
from dpcxr_core.study.standin_choice import StartingPoints
from dpcxr_core.study.starting_points import make_initialisations
from dpcxr_core.workers import each_by_itself, worker_pool


def run_study_here(study: Study, study_dir: Path, *, cache_dir: Path, n_jobs: int) -> list[Path | None]:
    """Record folders of all cells, in the order of ``cells_of``; None where a cell failed, which is said.

    Job folders are left as ``dpcxr study`` leaves them, but for notebooks; what either has done, the other finds.

    Args:
        study: To run.
        study_dir: Of the study.
        cache_dir: Where stores, weights, runs, scores and evaluations are kept.
        n_jobs: Processes of one thread each.

    Raises:
        UserError: Another process is at this study, or images or stand-ins cannot be had.
    """
    jobs = {job.name: job for job in jobs_of(study, cache_dir / "weights")}
    with study_held(study_dir):
        forget_lost(study_dir, jobs.values())
        for job in jobs.values():
            if job.kind != "cell" and not is_done(study_dir, job):
                _prepare(job, jobs, study_dir, cache_dir, n_jobs)
        _run_cells(jobs, study, study_dir, n_jobs)
    cells = {job.cell: job for job in jobs.values() if job.cell is not None}
    found = [cells[cell] for cell in cells_of(study)]
    return [run_of(job_folder(study_dir, job)) if is_done(study_dir, job) else None for job in found]


def _prepare(job: Job, jobs: Mapping[str, Job], study_dir: Path, cache_dir: Path, n_jobs: int) -> None:
    started, folder = time.monotonic(), job_folder(study_dir, job)
    if isinstance(job.choice, DataChoice):
        leave_places(folder, prepare_study(job.choice, cache_dir, jobs=n_jobs))
    elif isinstance(job.choice, StartingPoints):
        places = data_places(job, jobs, study_dir)
        leave_places(folder, places)
        leave_initialisations(folder, make_initialisations(job.choice, places, jobs=n_jobs))
    leave_result(folder, time.monotonic() - started)


def _run_cells(jobs: Mapping[str, Job], study: Study, study_dir: Path, n_jobs: int) -> None:
    """Trains and records the cells that are not done; those that others start from first."""
    left = [job for job in jobs.values() if job.kind == "cell" and not is_done(study_dir, job)]
    while ready := [job for job in left if all(is_done(study_dir, jobs[name]) for name in job.needs)]:
        for gpus in (False, True):
            cells = [job for job in ready if (job.n_gpus > 0) == gpus]
            if cells:
                _run(cells, jobs, study, study_dir, n_jobs, gpus=gpus)
        left = [job for job in left if job not in ready]
    if left:
        print(f"{len(left)} cells need one that failed, and were not begun", flush=True)


def _run(
    cells: Sequence[Job], jobs: Mapping[str, Job], study: Study, study_dir: Path, n_jobs: int, *, gpus: bool
) -> None:
    """Trains and records ``cells``, each by itself; without ``gpus`` they find none, as they were planned."""
    arguments = [(job, jobs, study, study_dir) for job in cells]
    for place, future in each_by_itself(partial(worker_pool, gpus=gpus), n_jobs, _run_cell, arguments):
        error = future.exception()
        if error is not None:
            print(f"{cells[place].name} failed: {error}", flush=True)
            log = job_folder(study_dir, cells[place]) / LOG_FILE
            log.parent.mkdir(parents=True, exist_ok=True)  # it may have failed before it left anything
            log.write_text(f"{error}\n")


def _run_cell(job: Job, jobs: Mapping[str, Job], study: Study, study_dir: Path) -> None:
    started, folder = time.monotonic(), job_folder(study_dir, job)
    places = study_places(job, jobs, study, study_dir)
    leave_places(folder, places)
    run = run_one(config_of(job, jobs, study, study_dir, places), places)
    leave_result(folder, time.monotonic() - started, run)
