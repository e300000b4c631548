"""Where a cell of a study finds its images: the stores of several data jobs, side by side in one folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dpcxr_core.config import content_key
from dpcxr_core.planning.jobs import Job, job_folder
from dpcxr_core.planning.study_file import Study
from dpcxr_core.study.handover import find_places
from dpcxr_core.study.places import StudyPlaces


def data_places(job: Job, jobs: Mapping[str, Job], study_dir: Path) -> StudyPlaces:
    """The places that the data job of ``job`` left.

    Args:
        job: A cell, or stand-ins.
        jobs: All jobs of the study, by name.
        study_dir: Of the study.
    """
    own = next(each for each in _data_jobs(job, jobs) if each.dataset == job.dataset)
    return find_places(job_folder(study_dir, own))


def study_places(job: Job, jobs: Mapping[str, Job], study: Study, study_dir: Path) -> StudyPlaces:
    """The places of a cell: those of its data set, tested on the private sets of the other targets too.

    A set that the data job made itself, as each simulated hospital is tested on all the others, is not replaced.

    Args:
        job: The cell's; the data jobs it needs are done.
        jobs: All jobs of the study, by name.
        study: Says how runs are evaluated.
        study_dir: Of the study; links to stores are made in its folder ``stores``.
    """
    places = data_places(job, jobs, study_dir)
    stores = {name: places.store(name) for name in (places.public_dataset, *places.test_datasets)}
    own = tuple(stores)
    for other in _data_jobs(job, jobs):
        left = find_places(job_folder(study_dir, other))
        stores.setdefault(left.private_dataset, left.store(left.private_dataset))
    further = tuple(name for name in stores if name not in own)
    linked, external = _linked(stores, study_dir / "stores"), (*places.external_datasets, *further)
    return replace(places, stores=linked, external_datasets=external, evaluation=study.evaluation)


def _data_jobs(job: Job, jobs: Mapping[str, Job]) -> list[Job]:
    return [jobs[name] for name in job.needs if jobs[name].kind == "data"]


def _linked(stores: Mapping[str, Path], folder: Path) -> Path:
    """A folder of links to ``stores``, by name; named by where they lead."""
    linked = folder / content_key({name: str(path) for name, path in stores.items()})
    linked.mkdir(parents=True, exist_ok=True)
    for name, path in stores.items():
        with suppress(FileExistsError):  # the same link, of a cell that came before or runs beside this one
            (linked / name).symlink_to(path, target_is_directory=True)
    return linked
