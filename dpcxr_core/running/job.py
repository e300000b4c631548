"""One job of a study: a chapter, run by papermill in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dpcxr_core.config import UserError
from dpcxr_core.locks import held
from dpcxr_core.planning.jobs import RESULT_FILE, Job, is_done, job_folder, jobs_of
from dpcxr_core.planning.study_file import Study, read_study
from dpcxr_core.profiles import BOOK_FOLDER
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.publishing.pages.execute import execute_chapter
from dpcxr_core.running.cell_config import config_of
from dpcxr_core.running.config_file import write_config
from dpcxr_core.running.results import leave_result, trained_in
from dpcxr_core.running.study_places import data_places, study_places
from dpcxr_core.study.handover import leave_places
from dpcxr_core.workers import end_with_parent, hide_gpus, killed_with_parent

_CHAPTERS = {"data": "11_data_preparation", "standins": "15_initialisations", "cell": "21_private_training"}


def do_job(study_file: Path, study_dir: Path, name: str, *, cache_dir: Path, n_cores: int) -> Path:
    """``result.json`` of the job ``name``, which is done now unless it was; waits where another process is at it.

    Promise:
        The result appears in the job's folder last, and only when all went well. After a failure the notebook
        stays, as far as it came. This process ends within seconds when the one that started it does.

    Args:
        study_file: Declares the study.
        study_dir: Of the study.
        name: As ``jobs_of`` the study names it.
        cache_dir: Where stores, weights, runs, scores and evaluations are kept.
        n_cores: Processes of a job on data or stand-ins.

    Raises:
        UserError: The study has no such job (any more), or its chapter failed.
    """
    end_with_parent()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of kernels: many cells of one thread beat one of many
    study = read_study(study_file)
    jobs = {job.name: job for job in jobs_of(study, cache_dir / "weights")}
    if name not in jobs:
        raise UserError(f"{study_file} has no job {name!r}; file or code changed since it was planned. Call again")
    folder = job_folder(study_dir, jobs[name])
    with held(folder / ".lock", wait=True):
        if not is_done(study_dir, jobs[name]):
            if not jobs[name].n_gpus:
                hide_gpus()  # from kernels too: what was planned without a GPU takes none
            started = time.monotonic()
            run = _do(jobs[name], jobs, study, study_dir, cache_dir, n_cores)
            leave_result(folder, time.monotonic() - started, run)
    return folder / RESULT_FILE


def _do(job: Job, jobs: Mapping[str, Job], study: Study, study_dir: Path, cache_dir: Path, n_cores: int) -> Path | None:
    """The record folder of a cell; None for other kinds."""
    folder = job_folder(study_dir, job)
    if job.kind == "cell":
        return _do_cell(job, jobs, study, study_dir)
    parameters = _plain(asdict(job.choice)) | {"jobs": n_cores}  # type: ignore[arg-type]
    if job.kind == "data":
        parameters["cache_dir"] = str(cache_dir)
    else:
        leave_places(folder, data_places(job, jobs, study_dir))
        parameters["show_probe"] = not study.needs_protection
    _execute(job.kind, folder, parameters)
    return None


def _do_cell(job: Job, jobs: Mapping[str, Job], study: Study, study_dir: Path) -> Path:
    folder = job_folder(study_dir, job)
    places = study_places(job, jobs, study, study_dir)
    config = config_of(job, jobs, study, study_dir, places)
    leave_places(folder, places)
    file = write_config(folder / "config.json", config)
    if job.n_ranks > 1:
        _train_on_ranks(job.n_ranks, file, folder)
    shown = not study.needs_protection
    _execute("cell", folder, {"config_file": str(file), "show_diagnostics": shown, "show_images": shown})
    return trained_in(folder)


def _train_on_ranks(n_ranks: int, config_file: Path, folder: Path) -> None:
    """Trains and records the run on several processes of this machine; the chapter then finds its record."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_ranks}"]
    train = ["-m", "dpcxr_core.cli", "train", str(config_file), "--run-dir", str(folder)]
    # from the project, as kernels run, so that a path in the configuration means the same file
    ran = subprocess.run([*torchrun, *train], cwd=PROJECT_FOLDER, preexec_fn=killed_with_parent, check=False)
    if ran.returncode:
        raise UserError(f"training on {n_ranks} processes failed; the log says why")


def _execute(kind: str, folder: Path, parameters: dict[str, Any]) -> None:
    # force: what the notebook left may be gone, and what is still there is found again and not made again
    source = BOOK_FOLDER / f"{_CHAPTERS[kind]}.py"
    execute_chapter(source, folder / "notebooks", parameters | {"run_dir": str(folder)}, progress=True, force=True)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with lists for tuples, as chapters take them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
