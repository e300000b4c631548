"""A study of few cells without any engine: its jobs one after another."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from dpcxr_core.planning.jobs import LOG_FILE, Job, is_done, job_folder
from dpcxr_core.running.command import job_command


def do_in_a_loop(study_file: Path, study_dir: Path, jobs: Sequence[Job], *, cache_dir: Path, n_cores: int) -> None:
    """Does all ``jobs`` that can be done, each in a process of its own; where one fails, those that need it are left.

    Args:
        study_file: Declares the study.
        study_dir: Of the study.
        jobs: What a job needs comes before it.
        cache_dir: As ``do_job`` takes it.
        n_cores: Processes of a job on data or stand-ins.
    """
    done = {job.name for job in jobs if is_done(study_dir, job)}
    waiting = [job for job in jobs if job.name not in done]
    for number, job in enumerate(waiting, start=1):
        if not done.issuperset(job.needs):
            continue
        print(f"{number} of {len(waiting)}: {job.name}", flush=True)
        folder = job_folder(study_dir, job)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOG_FILE).open("w") as log:
            subprocess.run(
                job_command(study_file, study_dir, job.name, cache_dir=cache_dir, n_cores=n_cores),
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if is_done(study_dir, job):
            done.add(job.name)
