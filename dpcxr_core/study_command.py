"""The options of ``dpcxr study`` and ``dpcxr job``, and what they do."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from dpcxr_core.config import UserError
from dpcxr_core.provenance import PROJECT_FOLDER

EXAMPLES = """dpcxr study studies/paper.yml --dry-run      (every cell, missing files, costs; needs no data)
  dpcxr study studies/demo.yml --cores 2
  dpcxr study studies/paper.yml --profile slurm    (or a folder with your own config.yaml of Snakemake)"""
RUNS, CACHE = PROJECT_FOLDER / "runs" / "studies", PROJECT_FOLDER / ".cache"


def add_study_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``dpcxr study`` to ``parser``."""
    parser.add_argument("study_file", type=Path, help="YAML, such as studies/demo.yml")
    parser.add_argument("--dry-run", action="store_true", help="show cells, missing files and costs; run nothing")
    parser.add_argument("--cores", type=int, metavar="N", help="cores to use (default: all; of a cluster, its profile)")
    parser.add_argument("--profile", metavar="DIR", help="of Snakemake: local, slurm, kubernetes, or a folder")
    where = "where each study has its folder (default: runs/studies of the project)"
    parser.add_argument("--runs", type=Path, default=RUNS, metavar="DIR", help=where)
    _add_cache(parser)


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``dpcxr job`` to ``parser``."""
    parser.add_argument("study_file", type=Path)
    parser.add_argument("study_dir", type=Path)
    parser.add_argument("name")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--result", type=Path)
    _add_cache(parser)


def _add_cache(parser: argparse.ArgumentParser) -> None:
    what = "where stores, weights, runs, scores and evaluations are kept (default: .cache, as the book's)"
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help=what)


def run_job(options: argparse.Namespace) -> int:
    """0, when the job that ``options`` name is done."""
    from dpcxr_core.running.job import do_job

    result = do_job(
        options.study_file,
        options.study_dir.resolve(),
        options.name,
        cache_dir=options.cache.resolve(),
        n_cores=options.cores,
    )
    if options.result is not None and options.result.resolve() != result:
        shutil.copy(result, options.result)  # where engines without a shared folder look for it
    return 0


def run_study(options: argparse.Namespace) -> int:
    """0 when every job of the study is done, or was only shown; 1 when some failed."""
    from dpcxr_core.planning.dry_run import print_dry_run
    from dpcxr_core.planning.jobs import jobs_of
    from dpcxr_core.planning.study_file import read_study
    from dpcxr_core.running.whole_study import run_whole_study

    if options.cores is not None and options.cores < 1:
        raise UserError(f"--cores must be at least 1; got {options.cores}")
    study = read_study(options.study_file)
    study_dir, cache_dir = (options.runs / study.name).resolve(), options.cache.resolve()
    if options.dry_run:
        print_dry_run(study, jobs_of(study, cache_dir / "weights"), study_dir, cache_dir=cache_dir)
        return 0
    all_done = run_whole_study(study, study_dir, cache_dir=cache_dir, n_cores=options.cores, profile=options.profile)
    return 0 if all_done else 1
