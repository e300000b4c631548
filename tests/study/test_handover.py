import json
from dataclasses import asdict, replace

import pandas as pd
import pytest

from dpcxr_core.config import EvaluationChoice, PrivacySpecification, UserError
from dpcxr_core.study import handover
from dpcxr_core.study.places import StudyPlaces
from tests.conftest import PROJECT

SPECIFICATIONS = {
    epsilon: PrivacySpecification(
        sample_rate=0.1,
        n_steps=10,
        expected_batch_size=10,
        max_grad_norm=0.5,
        noise_multiplier=noise,
        delta=1e-5,
    )
    for epsilon, noise in ((8.0, 0.8), (1.0, 3.0))
}


def _places(folder):
    return StudyPlaces(
        stores=folder / "stores",
        weights=folder / "weights",
        runs=folder / "runs",
        scores=folder / "scores",
        evaluations=folder / "evaluations",
        public_dataset="sim-source",
        private_dataset="sim-a",
        external_datasets=("sim-b",),
        evaluation=EvaluationChoice(n_resamples=7, age_band_edges=(0, 18, 120), group_columns=("sex", "race")),
    )


def test_places_of_an_older_version_are_refused_with_the_cure(tmp_path):
    handover.leave_places(tmp_path, _places(tmp_path))
    file = tmp_path / "places.json"
    values = json.loads(file.read_text())
    del values["scores"]
    file.write_text(json.dumps(values))
    with pytest.raises(UserError, match="older version left no place for scores; run the chapter 11_data_preparation"):
        handover.find_places(tmp_path)


def test_places_are_found_as_they_were_left(tmp_path):
    handover.leave_places(tmp_path, _places(tmp_path))
    assert handover.find_places(tmp_path) == _places(tmp_path)


def test_a_study_is_found_with_the_folders_of_the_runs_it_has(tmp_path):
    rows = [("north", "run-1"), ("north", "run-1"), ("north", None), ("pretraining", "run-2")]
    cells = pd.DataFrame(rows, columns=["dataset", "run_id"])
    (tmp_path / "tables").mkdir()
    cells.to_parquet(tmp_path / "tables" / "cells.parquet")
    handover.leave_study(tmp_path, tmp_path / "study.yml", tmp_path / "tables", {"run-1": _places(tmp_path)})
    found = handover.find_study(tmp_path)
    assert found.file == tmp_path / "study.yml"
    assert found.folders == [tmp_path / "runs" / "run-1"]
    assert found.places == {"run-1": _places(tmp_path)}
    pd.testing.assert_frame_equal(found.cells, cells)


def test_a_study_that_an_older_version_left_is_refused(tmp_path):
    handover.leave_study(tmp_path, tmp_path / "study.yml", tmp_path / "tables", {})
    left = tmp_path / "study.json"
    left.write_text(left.read_text().replace("places_by_run", "places"))
    with pytest.raises(UserError, match="older version left no places of runs; run the chapter 23_study again"):
        handover.find_study(tmp_path)


def test_specifications_are_found_by_ascending_epsilon(tmp_path):
    handover.leave_specifications(tmp_path, SPECIFICATIONS)
    found = handover.find_specifications(tmp_path)
    assert found == SPECIFICATIONS
    assert list(found) == [1.0, 8.0]


def test_specifications_of_patients_and_of_older_editions_are_found(tmp_path):
    of_patients = {
        1.0: replace(SPECIFICATIONS[1.0], privacy_unit="patient", max_images_per_patient=4, clipping="automatic")
    }
    handover.leave_specifications(tmp_path, of_patients)
    assert handover.find_specifications(tmp_path) == of_patients
    older = [{"target_epsilon": 1.0, **asdict(SPECIFICATIONS[1.0])}]
    del older[0]["max_images_per_patient"], older[0]["clipping"]
    (tmp_path / "specifications.json").write_text(json.dumps(older))
    assert handover.find_specifications(tmp_path) == {1.0: SPECIFICATIONS[1.0]}


def test_initialisations_and_runs_keep_their_order(tmp_path):
    handover.leave_initialisations(tmp_path, ["m.random", "m.domain"])
    handover.leave_runs(tmp_path, [tmp_path / "b", tmp_path / "a"])
    assert handover.find_initialisations(tmp_path) == ["m.random", "m.domain"]
    assert handover.find_runs(tmp_path) == [tmp_path / "b", tmp_path / "a"]


def test_initialisation_is_found_by_part_of_its_name(tmp_path):
    handover.leave_initialisations(tmp_path, ["m.random", "m.domain@1"])
    assert handover.find_initialisation(tmp_path, "domain") == "m.domain@1"
    with pytest.raises(UserError, match=r"2 initialisations have 'm\.'"):
        handover.find_initialisation(tmp_path, "m.")


def test_folders_inside_the_project_are_left_relative_to_it(tmp_path):
    handover.leave_runs(tmp_path, [PROJECT / "runs" / "a"])
    assert (tmp_path / "comparison.json").read_text().split('"')[1] == "runs/a"
    assert handover.find_runs(tmp_path) == [PROJECT / "runs" / "a"]


def test_epsilon_that_was_not_calibrated_is_refused_with_those_that_were(tmp_path):
    handover.leave_specifications(tmp_path, SPECIFICATIONS)
    assert handover.find_specification(tmp_path, 8.0) == SPECIFICATIONS[8.0]
    with pytest.raises(UserError, match=r"target_epsilon 2, only for \[1.0, 8.0\]"):
        handover.find_specification(tmp_path, 2.0)


@pytest.mark.parametrize(
    ("find", "chapter"),
    [
        (handover.find_places, "11_data_preparation"),
        (handover.find_specifications, "14_noise_calibration"),
        (handover.find_initialisations, "15_initialisations"),
        (handover.find_runs, "22_comparison"),
        (handover.find_study, "23_study"),
    ],
)
def test_what_is_missing_names_the_chapter_to_run(tmp_path, find, chapter):
    with pytest.raises(UserError, match=chapter):
        find(tmp_path)


def test_the_store_of_a_hospitals_own_export_is_found_where_there_is_one(tmp_path):
    assert handover.find_own_store(tmp_path) is None
    handover.leave_own_store(tmp_path, tmp_path / "cache" / "own" / "key")
    assert handover.find_own_store(tmp_path) == tmp_path / "cache" / "own" / "key"
