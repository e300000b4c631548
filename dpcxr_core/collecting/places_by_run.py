"""Where each run of a study found its images and left its scores, which cells of one data set need not share."""

from __future__ import annotations

from pathlib import Path

from dpcxr_core.planning.jobs import WEIGHTS_OF_BOOK, is_done, job_folder, jobs_of, run_of
from dpcxr_core.planning.study_file import Study
from dpcxr_core.study.handover import find_places
from dpcxr_core.study.places import StudyPlaces


def places_by_run(study: Study, study_dir: Path, weights_dir: Path = WEIGHTS_OF_BOOK) -> dict[str, StudyPlaces]:
    """By run_id, the places of each finished cell of a data set that is trained on with privacy.

    Cells with images of another recipe have the same test patients, and other stores and scores.
    ``weights_dir`` is that of ``jobs_of``.
    """
    done = [
        job_folder(study_dir, job)
        for job in jobs_of(study, weights_dir)
        if job.cell is not None and job.dataset in study.data and is_done(study_dir, job)
    ]
    return {run_of(folder).name: find_places(folder) for folder in done}
