import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dpcxr_core.config import UserError
from dpcxr_core.data.describing.summary import reading_table
from dpcxr_core.data.store import open_store, rows_of
from dpcxr_core.study.data_choice import DataChoice
from dpcxr_core.study.handover import find_places
from dpcxr_core.study.preparation import prepare_study

TINY = DataChoice(data_source="simulated", n_public=20, n_train=20, n_valid=10, n_test=30, n_external_test=15)


def test_simulated_study_has_a_store_for_every_part(tiny_study):
    places = tiny_study.places
    assert find_places(tiny_study.run_dir) == places
    public = open_store(places.store(places.public_dataset))
    assert len(rows_of(public, "train")) == len(public.cohort) == 200
    private = open_store(places.store(places.private_dataset))
    assert [len(rows_of(private, split)) for split in ("train", "valid", "test")] == [160, 80, 260]
    assert len(places.external_datasets) == 4
    for dataset in (*places.external_datasets, places.null_dataset):
        store = open_store(places.store(dataset))
        assert set(store.cohort["dataset"]) == {dataset}
        assert len(rows_of(store, "test")) == 120


def test_image_ids_are_unique_over_the_whole_study(tiny_study):
    places = tiny_study.places
    ids = [open_store(places.store(name)).cohort["image_id"] for name in places.test_datasets]
    every = np.concatenate(ids)
    assert len(np.unique(every)) == len(every)


def test_another_choice_gets_stores_of_its_own_and_the_same_choice_the_same(tmp_path):
    first = prepare_study(TINY, tmp_path, jobs=1)
    again = prepare_study(TINY, tmp_path, jobs=1)
    other = prepare_study(replace(TINY, seed=1), tmp_path, jobs=1)
    assert first.stores == again.stores != other.stores


def test_stores_of_which_a_purge_left_the_folders_are_made_again_and_half_a_store_is_to_be_deleted(tmp_path):
    places = prepare_study(TINY, tmp_path, jobs=1)
    store = places.store(places.private_dataset)
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    for path in store.iterdir():
        path.unlink()
    prepare_study(TINY, tmp_path, jobs=1)
    assert {path.name: path.read_bytes() for path in store.iterdir()} == before
    (store / "images.npy").unlink()
    with pytest.raises(UserError, match=rf"{store} is not a finished .* no images.npy. Delete it and prepare it again"):
        prepare_study(TINY, tmp_path, jobs=1)
    shutil.rmtree(store)
    assert prepare_study(TINY, tmp_path, jobs=1) == places


@pytest.mark.sample
def test_real_sample_parts_its_training_patients_in_two(tmp_path, sample_data):
    choice = DataChoice(data_source="chestxray14", source_dir=str(sample_data / "chestxray14_sample"), image_size=32)
    places = prepare_study(choice, tmp_path, jobs=2)
    public = open_store(places.store(places.public_dataset)).cohort
    private = open_store(places.store(places.private_dataset)).cohort
    assert not set(public["patient_id"]) & set(private["patient_id"])
    assert set(public["split"]) == {"train"}
    assert set(private["split"]) == {"train", "valid", "test"}
    assert places.external_datasets == ()
    assert places.null_dataset is None


_HOSPITAL = """
name: north
table: {file: export.csv}
pictures: [images]
columns: {image: file, patient: person}
labels: {column: says, separator: ;, terms: {pneumonia: [pneumonia], no_finding: [normal]}, not_mentioned: negative}
"""


@pytest.fixture
def hospital(tmp_path):
    """Forty images of twenty patients, and a manifest that maps them."""
    (tmp_path / "images").mkdir()
    lines = ["file,person,says"]
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        lines.append(f"{number}.png,p{number // 2},{('normal', 'pneumonia')[number % 2]}")
    (tmp_path / "export.csv").write_text("\n".join(lines))
    (tmp_path / "north.yml").write_text(_HOSPITAL)
    choice = {"data_source": "own", "manifest": str(tmp_path / "north.yml"), "source_dir": str(tmp_path)}
    return DataChoice(**choice, image_size=32)


def test_own_hospital_parts_its_training_patients_in_two(tmp_path, hospital):
    places = prepare_study(hospital, tmp_path / "cache", jobs=1)
    assert (places.public_dataset, places.private_dataset) == ("north-public", "north-private")
    public, private = (open_store(places.store(name)) for name in (places.public_dataset, places.private_dataset))
    assert not set(public.cohort["patient_id"]) & set(private.cohort["patient_id"])
    assert len(public.cohort) + len(private.cohort) == 40
    assert private.description["patient_ids"] == "recorded"


def test_refused_picture_of_a_parted_hospital_is_told_once_and_of_the_whole(tmp_path, hospital):
    (tmp_path / "images" / "7.png").write_bytes(b"damaged")
    places = prepare_study(replace(hospital, public_fraction=0.5), tmp_path / "cache", jobs=1)
    stores = {name: open_store(places.store(name)) for name in (places.private_dataset, places.public_dataset)}
    assert [len(pd.read_csv(store.path / "refused.csv")) for store in stores.values()] == [0, 0]
    table = reading_table(stores)
    assert table.to_dict("index") == {"north": {"listed": 40, "in the store": 39, "refused": 1}}
    assert pd.read_csv(places.store("north") / "refused.csv")["image_id"].tolist() == ["7.png"]


def test_own_hospital_without_a_public_part_is_private_as_a_whole(tmp_path, hospital):
    places = prepare_study(replace(hospital, public_fraction=0.0), tmp_path / "cache", jobs=1)
    assert (places.public_dataset, places.private_dataset) == ("north", "north")
    assert len(open_store(places.store("north")).cohort) == 40
    assert [path.name for path in places.stores.iterdir() if path.is_dir()] == ["north"]


def test_another_text_of_the_manifest_gets_stores_of_its_own(tmp_path, hospital):
    first = prepare_study(hospital, tmp_path / "cache", jobs=1)
    (tmp_path / "north.yml").write_text(_HOSPITAL.replace("not_mentioned: negative", "not_mentioned: unknown"))
    assert prepare_study(hospital, tmp_path / "cache", jobs=1).stores != first.stores


def test_a_corrected_table_gets_stores_of_its_own(tmp_path, hospital):
    first = prepare_study(hospital, tmp_path / "cache", jobs=1)
    table = tmp_path / "export.csv"
    table.write_text(table.read_text().replace("0.png,p0,normal", "0.png,p0,pneumonia"))
    corrected = prepare_study(hospital, tmp_path / "cache", jobs=1)
    labels = [
        open_store(each.store(name)).cohort.set_index("image_id")["pneumonia"]
        for each in (first, corrected)
        for name in (each.public_dataset, each.private_dataset)
    ]
    assert sum(part.sum() for part in labels[2:]) == sum(part.sum() for part in labels[:2]) + 1


def test_policy_and_recipe_of_a_choice_are_those_of_its_stores(tmp_path, hospital):
    chosen = replace(hospital, label_policy="u_one", image_recipe="as_published")
    places = prepare_study(chosen, tmp_path / "cache", jobs=1)
    private = open_store(places.store(places.private_dataset))
    assert private.description["choices"]["policy"] == "u_one"
    assert private.description["recipe"]["name"] == "as_published"


def test_missing_source_folder_is_named(tmp_path):
    choice = DataChoice(data_source="chestxray14", source_dir=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere"):
        prepare_study(choice, tmp_path, jobs=1)
