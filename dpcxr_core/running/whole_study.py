"""A whole study: what is left to do is done by Snakemake, or without it in a loop, and collected into tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dpcxr_core.config import UserError
from dpcxr_core.planning.jobs import Job, is_done, job_folder, jobs_of, write_plan
from dpcxr_core.planning.study_file import Study
from dpcxr_core.running.by_snakemake import LOCAL, do_by_snakemake, profile_folder, snakemake_is_here
from dpcxr_core.running.command import LOG_FILE
from dpcxr_core.running.holding import held
from dpcxr_core.running.in_a_loop import do_in_a_loop
from dpcxr_core.running.results import forget_lost


def run_whole_study(
    study: Study, study_dir: Path, *, cache_dir: Path, n_cores: int | None = None, profile: str | None = None
) -> bool:
    """Whether every job of the study is done now, after those that were not have been tried, and are said.

    Args:
        study: To run.
        study_dir: Where its plan, jobs and tables are.
        cache_dir: Where stores, weights, runs and evaluations are kept.
        n_cores: Of this machine; None for all, or with a profile for what that says.
        profile: Of Snakemake, as ``profile_folder`` takes it.

    Raises:
        UserError: Another process is at this study, or the profile cannot be used.
    """
    with held(study_dir / ".lock", wait=False) as is_mine:
        if not is_mine:
            raise UserError(f"another process is at the study in {study_dir}; wait for it, or end it")
        jobs, tables = jobs_of(study), study_dir / "tables"
        forget_lost(study_dir, jobs)
        waiting = _not_done(study_dir, jobs)
        if not waiting and tables.is_dir():
            print(f"nothing to do: all {len(jobs)} jobs are done, and the tables are in {tables}")
            return True
        if waiting:
            print(f"{len(waiting)} of {len(jobs)} jobs to do, in {study_dir}", flush=True)
            _do(study, study_dir, jobs, cache_dir, n_cores, profile)
        _collect(study, study_dir)
        return _say_failures(study_dir, jobs)


def _do(
    study: Study, study_dir: Path, jobs: Sequence[Job], cache_dir: Path, n_cores: int | None, profile: str | None
) -> None:
    if snakemake_is_here():
        folder = profile_folder(profile) if profile else LOCAL
        cores = os.cpu_count() if n_cores is None and folder == LOCAL else n_cores
        write_plan(study_dir, study, jobs)
        do_by_snakemake(study_dir, cache_dir=cache_dir, n_cores=cores, profile=folder)
    elif profile:
        raise UserError(f"--profile {profile} needs Snakemake: pip install 'dpcxr-core[cluster]'")
    else:
        print("one job after another, as Snakemake is not installed: pip install 'dpcxr-core[cluster]'", flush=True)
        cores = n_cores or os.cpu_count() or 1
        do_in_a_loop(study.path.resolve(), study_dir, jobs, cache_dir=cache_dir, n_cores=cores)


def _collect(study: Study, study_dir: Path) -> None:
    from dpcxr_core.collecting.study_tables import collect_study  # torch, which nothing to do never needs

    print(f"the tables are in {collect_study(study, study_dir)}")


def _not_done(study_dir: Path, jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if not is_done(study_dir, job)]


def _say_failures(study_dir: Path, jobs: Sequence[Job]) -> bool:
    """Whether nothing failed; what did is named with its log."""
    missing = _not_done(study_dir, jobs)
    names = {job.name for job in missing}
    failed = [job for job in missing if names.isdisjoint(job.needs)]
    for job in failed:
        log = job_folder(study_dir, job) / LOG_FILE
        print(f"FAILED {job.name}: {log if log.is_file() else f'no log; see {study_dir}/.snakemake/log'}")
    if len(missing) > len(failed):
        print(f"{len(missing) - len(failed)} jobs need one that failed, and were not begun")
    return not missing
