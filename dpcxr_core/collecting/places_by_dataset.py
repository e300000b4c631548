"""Where the runs on each data set of a study are: one place for all cells that train on it."""

from __future__ import annotations

from pathlib import Path

from dpcxr_core.planning.jobs import WEIGHTS_OF_BOOK, is_done, job_folder, jobs_of
from dpcxr_core.planning.study_file import Study
from dpcxr_core.study.handover import find_places
from dpcxr_core.study.places import StudyPlaces


def places_by_dataset(study: Study, study_dir: Path, weights_dir: Path = WEIGHTS_OF_BOOK) -> dict[str, StudyPlaces]:
    """By data set trained on with privacy, the places that its first finished cell had; without those that have none.

    The first is of the main grid where that has run. Cells with images of another recipe have the same test patients.
    ``weights_dir`` is that of ``jobs_of``.
    """
    places: dict[str, StudyPlaces] = {}
    for job in jobs_of(study, weights_dir):
        if job.cell is not None and job.dataset in study.data and is_done(study_dir, job):
            places.setdefault(job.dataset, find_places(job_folder(study_dir, job)))
    return places
