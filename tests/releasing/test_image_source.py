import pytest

from dpcxr_core.data.store import open_store
from dpcxr_core.releasing.image_source import facts_of_store, need_no_protection


def test_simulated_images_need_no_protection(tiny_study):
    facts = facts_of_store(open_store(tiny_study.places.store("sim-a")).description)
    assert "simulated" in facts["title"]
    assert need_no_protection(facts)


@pytest.mark.parametrize(
    ("dataset", "is_open"),
    [("chestxray14", True), ("chestmnist", True), ("chexpert", False), ("mimic_cxr_jpg", False), ("taix_ray", False)],
)
def test_terms_are_those_of_the_set_that_a_part_was_taken_from(dataset, is_open):
    part = {"dataset": f"{dataset}-private", "choices": {"policy": "u_zero", "taken_from": dataset}}
    assert facts_of_store(part) == facts_of_store({"dataset": dataset, "choices": {"policy": "u_zero"}})
    assert need_no_protection(facts_of_store(part)) == is_open


def test_a_hospitals_own_images_need_protection():
    assert facts_of_store({"dataset": "ward_7", "choices": {"policy": "stated"}}) is None
    assert not need_no_protection(None)
