import pandas as pd
import pytest

from dpcxr_core.data.describing import origins
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.store import ImageStore

OWN = """
name: my-hospital
licence: none
pictures_may_be_shown: {shown}
table: {{file: images.csv}}
columns: {{image: file, patient: patient}}
labels: {{column: findings, separator: ";", terms: {{pneumonia: [pneumonia]}}}}
"""


def _store(tmp_path, dataset, recipe="corrected", **choices):
    description = {"dataset": dataset, "recipe": {"name": recipe}, "choices": choices}
    return ImageStore(tmp_path, None, pd.DataFrame(), description)


def test_store_and_its_parts_have_the_manifest_of_their_set(tmp_path):
    whole = _store(tmp_path, "chestxray14")
    part = _store(tmp_path, "chestxray14-private", taken_from="chestxray14")
    assert origins.facts_of_store(whole) == origins.facts_of_store(part) == facts_of("chestxray14")


def test_drawn_store_may_be_shown_whatever_its_name(tmp_path):
    store = _store(tmp_path, "sim-a-null", recipe="simulated")
    assert origins.facts_of_store(store) == facts_of("simulated")
    assert origins.pictures_may_be_shown(store, None)


@pytest.mark.parametrize("name", ["elsewhere", "weights", "chestxray14-ours", "images_per_patient"])
def test_set_without_a_manifest_has_no_facts_and_shows_nothing(tmp_path, name):
    store = _store(tmp_path, name)
    assert origins.facts_of_store(store) is None
    assert not origins.pictures_may_be_shown(store, None)


@pytest.mark.parametrize(("stated", "shown"), [("true", True), ("false", False)])
def test_own_manifest_speaks_for_its_own_set_only(tmp_path, stated, shown):
    path = tmp_path / "own.yml"
    path.write_text(OWN.format(shown=stated))
    own = _store(tmp_path, "my-hospital")
    facts = origins.facts_of_store(own, path)
    assert facts["dataset"] == "my-hospital"
    assert origins.pictures_may_be_shown(own, facts) is shown
    assert origins.facts_of_store(_store(tmp_path, "chexpert"), path)["title"] == "CheXpert"


@pytest.mark.parametrize("stated", [None, False, "yes", 1])
def test_nothing_but_a_plain_true_allows_pictures(tmp_path, stated):
    assert not origins.pictures_may_be_shown(_store(tmp_path, "chexpert"), {"pictures_may_be_shown": stated})
