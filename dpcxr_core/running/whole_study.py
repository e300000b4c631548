"""A whole study: what is left to do is done by Snakemake, or without it in a loop, and collected into tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dpcxr_core.collecting.up_to_date import TABLES_FOLDER, tables_are_up_to_date
from dpcxr_core.config import UserError
from dpcxr_core.planning.jobs import LOG_FILE, Job, is_done, job_folder, jobs_of, write_plan
from dpcxr_core.planning.study_file import Study
from dpcxr_core.running.by_snakemake import LOCAL, do_by_snakemake, profile_folder, snakemake_is_here
from dpcxr_core.running.holding import study_held
from dpcxr_core.running.in_a_loop import do_in_a_loop
from dpcxr_core.running.results import forget_lost


def run_whole_study(
    study: Study, study_dir: Path, *, cache_dir: Path, n_cores: int | None = None, profile: str | None = None
) -> bool:
    """Whether every job of the study is done now, after those that were not have been tried, and are said.

    Args:
        study: To run.
        study_dir: Where its plan, jobs and tables are.
        cache_dir: Where stores, weights, runs, scores and evaluations are kept.
        n_cores: Of this machine; None for all, or with a profile for what that says.
        profile: Of Snakemake, as ``profile_folder`` takes it.

    Raises:
        UserError: Another process is at this study, or the profile cannot be used.
    """
    with study_held(study_dir):
        jobs = jobs_of(study, cache_dir / "weights")
        forget_lost(study_dir, jobs)
        waiting = _not_done(study_dir, jobs)
        if not waiting and tables_are_up_to_date(study, jobs, study_dir):
            print(f"nothing to do: all {len(jobs)} jobs are done, and the tables are in {study_dir / TABLES_FOLDER}")
            return True
        started = write_plan(study_dir, study, jobs).stat().st_mtime  # by the clock that dates the logs
        if waiting:
            print(f"{len(waiting)} of {len(jobs)} jobs to do, in {study_dir}", flush=True)
            _do(study, study_dir, jobs, cache_dir, n_cores, profile)
        _collect(study, study_dir, cache_dir)
        _say_failures(study_dir, jobs, started)
        return not _not_done(study_dir, jobs)


def _do(
    study: Study, study_dir: Path, jobs: Sequence[Job], cache_dir: Path, n_cores: int | None, profile: str | None
) -> None:
    if snakemake_is_here():
        folder = profile_folder(profile) if profile else LOCAL
        code = do_by_snakemake(study_dir, cache_dir=cache_dir, n_cores=n_cores, profile=folder)
        if code:
            print(f"Snakemake ended with code {code}; its own log is in {study_dir}/.snakemake/log", flush=True)
    elif profile:
        raise UserError(f"--profile {profile} needs Snakemake: pip install 'dpcxr-core[cluster]'")
    else:
        print("one job after another, as Snakemake is not installed: pip install 'dpcxr-core[cluster]'", flush=True)
        cores = n_cores or os.cpu_count() or 1
        do_in_a_loop(study.path.resolve(), study_dir, jobs, cache_dir=cache_dir, n_cores=cores)


def _collect(study: Study, study_dir: Path, cache_dir: Path) -> None:
    from dpcxr_core.collecting.study_tables import collect_study  # torch, which nothing to do never needs

    tables = collect_study(study, study_dir, weights_dir=cache_dir / "weights")
    print(f"the tables are in {tables}")


def _not_done(study_dir: Path, jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if not is_done(study_dir, job)]


def _say_failures(study_dir: Path, jobs: Sequence[Job], started: float) -> None:
    """Says which jobs failed since ``started``, with their logs, and which were not begun."""
    missing = _not_done(study_dir, jobs)
    names = {job.name for job in missing}
    waiting = [job for job in missing if not names.isdisjoint(job.needs)]
    for job in missing:
        log = job_folder(study_dir, job) / LOG_FILE
        if log.is_file() and log.stat().st_mtime >= started:
            print(f"FAILED {job.name}: {log}")
        elif job not in waiting:
            print(f"not begun: {job.name}")
    if waiting:
        print(f"{len(waiting)} jobs need one that is not done, and were not begun")
