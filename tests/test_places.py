from pathlib import Path

from dpcxr_core.places import StudyPlaces


def test_test_datasets_begin_with_the_internal_one_and_end_with_the_null_world():
    folders = {name: Path(name) for name in ("stores", "weights", "runs")}
    places = StudyPlaces(
        **folders,
        public_dataset="sim-source",
        private_dataset="sim-a",
        external_datasets=("sim-b", "sim-c"),
        null_dataset="sim-a-null",
    )
    assert places.test_datasets == ("sim-a", "sim-b", "sim-c", "sim-a-null")
    assert places.store("sim-b") == Path("stores/sim-b")
