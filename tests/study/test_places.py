from pathlib import Path

import pytest

from dpcxr_core.config import EvaluationChoice, UserError
from dpcxr_core.study.places import FOLDERS, StudyPlaces, evaluation_from


def test_test_datasets_begin_with_the_internal_one_and_end_with_the_null_world():
    folders = {name: Path(name) for name in FOLDERS}
    places = StudyPlaces(
        **folders,
        public_dataset="sim-source",
        private_dataset="sim-a",
        external_datasets=("sim-b", "sim-c"),
        null_dataset="sim-a-null",
    )
    assert places.test_datasets == ("sim-a", "sim-b", "sim-c", "sim-a-null")
    assert places.store("sim-b") == Path("stores/sim-b")


def test_evaluation_is_changed_by_field():
    changes = {"n_resamples": 1000, "age_band_edges": [0, 18, 120], "group_columns": ["sex", "race"]}
    expected = EvaluationChoice(n_resamples=1000, age_band_edges=(0, 18, 120), group_columns=("sex", "race"))
    assert evaluation_from(changes) == expected
    assert evaluation_from({}) == EvaluationChoice()


@pytest.mark.parametrize(
    ("changes", "named"), [({"n_resample": 10}, r"no \['n_resample'\].*n_resamples"), ({"seed": -1}, "seed")]
)
def test_evaluation_that_makes_no_sense_is_refused_by_name(changes, named):
    with pytest.raises(UserError, match=named):
        evaluation_from(changes)


def test_at_home_there_is_the_internal_test_set_alone():
    folders = {name: Path(name) for name in FOLDERS}
    places = StudyPlaces(
        **folders, public_dataset="p", private_dataset="a", external_datasets=("b", "c"), null_dataset="a-null"
    )
    assert places.at_home.test_datasets == ("a",)
    assert places.at_home.store("a") == places.store("a")
