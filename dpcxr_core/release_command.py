"""The options of ``dpcxr release``, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path

from dpcxr_core.config import UserError
from dpcxr_core.provenance import PROJECT_FOLDER

EXAMPLE = """dpcxr release .cache/runs/sim-a-convnext_mini.random-reset-eps8-s0-0123456789ab --out released
  dpcxr release runs/studies/demo/jobs/JOB --out released   (a job of a study)"""


def add_release_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``dpcxr release`` to ``parser``."""
    parser.add_argument("record", type=Path, metavar="RUN", help="folder of a run record, or of a study's job")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder for the model")
    parser.add_argument(
        "--run-dir",
        type=Path,
        help="where the data chapter left places.json (default: RUN, if it is a study's job; else runs/demo)",
    )


def run_release(options: argparse.Namespace) -> int:
    """Exit code 0, once the model is released.

    Raises:
        UserError: As ``release_model``.
    """
    from dpcxr_core.planning.jobs import RESULT_FILE, run_of
    from dpcxr_core.releasing.release import release_model
    from dpcxr_core.study.handover import find_places

    if not options.record.is_dir():
        raise UserError(f"there is no run {options.record}; name a folder of .cache/runs, or of a study's jobs")
    of_a_study = (options.record / RESULT_FILE).is_file()
    run = run_of(options.record) if of_a_study else options.record
    run_dir = options.run_dir or (options.record if of_a_study else PROJECT_FOLDER / "runs" / "demo")
    print(release_model(run, find_places(run_dir), options.out))
    return 0
