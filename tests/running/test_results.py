import shutil
from dataclasses import replace

import pytest

from dpcxr_core.planning.jobs import Job, run_of
from dpcxr_core.running import results
from dpcxr_core.running.results import forget_lost, leave_result, leave_trained, trained_in
from dpcxr_core.study.handover import leave_initialisations, leave_places
from dpcxr_core.study.places import FOLDERS, StudyPlaces
from dpcxr_core.study.scores import missing_scores
from tests.running.conftest import none_missing


@pytest.fixture(autouse=True)
def _scored_in_its_folder(monkeypatch):
    """The scores of a run are there when its folder below ``scores`` is."""

    def missing(run, places):
        return none_missing(run, places) if (places.scores / run.name).is_dir() else {"a": "a"}

    monkeypatch.setattr(results, "missing_scores", missing)


def test_result_names_the_record(tmp_path):
    leave_result(tmp_path, 1.5, tmp_path / "runs" / "a")
    assert run_of(tmp_path) == tmp_path / "runs" / "a"
    leave_trained(tmp_path, tmp_path / "runs" / "b")
    assert trained_in(tmp_path) == tmp_path / "runs" / "b"


def test_results_are_forgotten_where_what_they_name_is_gone(tiny_study, tmp_path):
    folders = {part: tmp_path / part for part in FOLDERS}
    places = StudyPlaces(**folders, public_dataset="public", private_dataset="private")
    for name in (places.public_dataset, places.private_dataset):
        shutil.copytree(tiny_study.places.store(tiny_study.places.public_dataset), places.store(name))
    made = {
        "data": places.store("private") / "images.npy",
        "standins": tmp_path / "weights" / "k.safetensors",
        "cell": tmp_path / "runs" / "cell" / "record.json",
        "other": tmp_path / "runs" / "other" / "record.json",
        "scored": tmp_path / "runs" / "scored" / "record.json",
    }
    kinds = {"data": "data", "standins": "standins"}
    jobs = [Job(name=name, kind=kinds.get(name, "cell"), dataset="a") for name in made]
    for name, path in made.items():
        if name != "data":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        folder = tmp_path / "jobs" / name
        leave_places(folder, places)
        leave_initialisations(folder, ["convnext_mini.random", "convnext_mini.standin_domain@k"])
        leave_result(folder, 1.0, tmp_path / "runs" / name)
        (tmp_path / "scores" / name).mkdir(parents=True)
    left = {name: tmp_path / "jobs" / name / "result.json" for name in made}
    forget_lost(tmp_path, jobs)
    assert all(path.is_file() for path in left.values())
    for lost in ("cell", "standins", "data"):
        made[lost].unlink()
        forget_lost(tmp_path, jobs)
        assert not left.pop(lost).exists()
        assert all(path.is_file() for path in left.values())
    (tmp_path / "scores" / "scored").rmdir()
    forget_lost(tmp_path, jobs)
    assert [name for name, path in left.items() if path.is_file()] == ["other"]


def _left(tmp_path, **needs):
    """Cells that are done, each with its record, by name; in a study folder."""
    folders = {part: tmp_path / part for part in FOLDERS}
    for name in needs:
        record = tmp_path / "runs" / name / "record.json"
        record.parent.mkdir(parents=True)
        record.write_text("")
        (tmp_path / "scores" / name).mkdir(parents=True)
        leave_places(tmp_path / "jobs" / name, StudyPlaces(**folders, public_dataset="a", private_dataset="a"))
        leave_result(tmp_path / "jobs" / name, 1.0, record.parent)
    return [Job(name=name, kind="cell", dataset="a", needs=of_these) for name, of_these in needs.items()]


def _done(tmp_path):
    return {path.parent.name for path in tmp_path.glob("jobs/*/result.json")}


def test_what_started_from_lost_weights_is_forgotten_too_however_far_behind(tmp_path):
    jobs = _left(tmp_path, first=(), second=("first",), third=("second",), other=())
    shutil.rmtree(tmp_path / "runs" / "first")
    forget_lost(tmp_path, jobs)
    assert _done(tmp_path) == {"other"}


def test_forgetting_that_was_killed_half_way_is_ended_by_the_next(tmp_path):
    jobs = _left(tmp_path, first=(), second=("first",), other=())
    (tmp_path / "jobs" / "first" / "result.json").unlink()
    forget_lost(tmp_path, jobs)
    assert _done(tmp_path) == {"other"}


def test_a_job_that_no_longer_says_where_things_are_is_lost(tmp_path):
    jobs = _left(tmp_path, first=(), other=())
    (tmp_path / "jobs" / "first" / "places.json").unlink()
    forget_lost(tmp_path, jobs)
    assert _done(tmp_path) == {"other"}


def test_a_cell_is_lost_with_a_store_that_its_scores_are_of(tiny_study, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "missing_scores", missing_scores)
    job, folder = Job(name="cell", kind="cell", dataset="a"), tmp_path / "jobs" / "cell"
    for stores, is_done in ((tiny_study.places.stores, {"cell"}), (tmp_path / "gone", set())):
        leave_places(folder, replace(tiny_study.places, stores=stores))
        leave_result(folder, 1.0, tiny_study.folders[0])
        forget_lost(tmp_path, [job])
        assert _done(tmp_path) == is_done
