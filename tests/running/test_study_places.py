from dataclasses import replace

import pytest

from dpcxr_core.config import EvaluationChoice
from dpcxr_core.planning.jobs import Job
from dpcxr_core.running.study_places import data_places, study_places
from dpcxr_core.study.handover import leave_places
from dpcxr_core.study.places import FOLDERS, StudyPlaces


def _left(tmp_path, name: str, private: str, external: tuple[str, ...]) -> Job:
    """A data job that is done, and its stores, each with a file that says whose it is."""
    job = Job(name=f"data-{name}", kind="data", dataset=name)
    root = tmp_path / "cache" / name
    folders = {part: root / part for part in FOLDERS}
    places = StudyPlaces(
        **folders, public_dataset=f"{name}-public", private_dataset=private, external_datasets=external
    )
    for dataset in (places.public_dataset, *places.test_datasets):
        places.store(dataset).mkdir(parents=True)
        (places.store(dataset) / "of").write_text(name)
    leave_places(tmp_path / "study" / "jobs" / job.name, places)
    return job


@pytest.fixture
def jobs(tmp_path):
    """Two hospitals tested on each other's name, and a third whose private set has a name of its own."""
    data = [
        _left(tmp_path, "a", "sim-a", ("sim-b",)),
        _left(tmp_path, "b", "sim-b", ("sim-a",)),
        _left(tmp_path, "nih", "nih-private", ()),
    ]
    cell = Job(name="cell", kind="cell", dataset="a", needs=tuple(job.name for job in data))
    return {job.name: job for job in [*data, cell]}


def test_cell_is_tested_on_its_own_sets_and_on_the_other_targets(jobs, tried, tmp_path):
    study = replace(tried().study, evaluation=EvaluationChoice(n_resamples=7))
    places = study_places(jobs["cell"], jobs, study, tmp_path / "study")
    assert places.test_datasets == ("sim-a", "sim-b", "nih-private")
    whose = {name: (places.store(name) / "of").read_text() for name in ("a-public", *places.test_datasets)}
    assert whose == {"a-public": "a", "sim-a": "a", "sim-b": "a", "nih-private": "nih"}
    assert places.evaluation.n_resamples == 7
    assert places.runs == data_places(jobs["cell"], jobs, tmp_path / "study").runs
    assert study_places(jobs["cell"], jobs, study, tmp_path / "study") == places


def test_places_do_not_depend_on_the_order_of_what_is_needed(jobs, tried, tmp_path):
    cell = replace(jobs["cell"], needs=tuple(reversed(jobs["cell"].needs)))
    places = study_places(cell, jobs, tried().study, tmp_path / "study")
    assert places.private_dataset == "sim-a"
    assert (places.store("sim-b") / "of").read_text() == "a"
