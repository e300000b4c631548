"""Whether the tables of a study say what its runs and today's code say, known without evaluating a run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from dpcxr_core.config import content_key
from dpcxr_core.planning.cells import cells_of
from dpcxr_core.planning.jobs import Job, is_done, job_folder, run_of
from dpcxr_core.planning.study_file import Study
from dpcxr_core.provenance import imported_source_key
from dpcxr_core.study.evaluating import evaluating_libraries
from dpcxr_core.training.record import read_record

TABLES_FOLDER = "tables"  # in the folder of a study
STATED_FILE = "tables.json"


def made_of(study: Study, jobs: Iterable[Job], study_dir: Path) -> str:
    """Twelve hex digits that name all that the tables of ``study`` are made of: its cells, their runs, and the code.

    The code with the libraries that decide an evaluation.

    Args:
        study: To collect.
        jobs: Of the study.
        study_dir: Where they leave their results.

    Raises:
        UserError: A job left a result, and its run is no longer there.
    """
    grids, code = cells_of(study), imported_source_key("dpcxr_core.collecting.study_tables")
    cells = [(job.name, grids[job.cell], _run(study_dir, job)) for job in jobs if job.cell is not None]
    return content_key(
        study.name, list(study.data), dict(study.roles), study.evaluation, cells, code, evaluating_libraries()
    )


def tables_are_up_to_date(study: Study, jobs: Iterable[Job], study_dir: Path) -> bool:
    """Whether the tables in ``study_dir`` are there and made of what is there now; arguments as of ``made_of``."""
    stated = study_dir / TABLES_FOLDER / STATED_FILE
    return stated.is_file() and json.loads(stated.read_text()).get("made_of") == made_of(study, jobs, study_dir)


def _run(study_dir: Path, job: Job) -> tuple[str, str] | None:
    """Name and weights of the run of ``job``: with secret randomness, the same run done again has other weights."""
    if not is_done(study_dir, job):
        return None
    record = read_record(run_of(job_folder(study_dir, job)))
    return record.run_id, record.data["weights_sha256"]
