import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dpcxr_core.config import UserError
from dpcxr_core.data.decode import corrected, read_grey
from dpcxr_core.data.prepare import prepare_chestxray14, prepare_simulated
from dpcxr_core.data.store import open_store

COHORT_CSV = "Data_Entry_2017_v2020.csv"


def _prepare(source, out, **changed):
    return prepare_chestxray14(source, out, **({"size": 24, "valid_fraction": 0.2} | changed))


def _pictures(source):
    return source / "images_001" / "images"


def test_prepare_stores_every_picture_by_its_recipe(make_official, tmp_path):
    source = make_official()
    report = _prepare(source, tmp_path / "store", jobs=3)
    store = open_store(tmp_path / "store")
    assert (report.n_listed, report.n_read, report.refused) == (40, 40, {})
    for image, path in zip(store.images, store.cohort["path"], strict=True):
        np.testing.assert_array_equal(image, corrected(read_grey(source / path), 24))
    assert store.description["recipe"]["name"] == "corrected"


def test_prepare_gives_the_same_bytes_for_any_number_of_jobs(make_official, tmp_path):
    source = make_official()
    for jobs in (1, 4):
        _prepare(source, tmp_path / str(jobs), jobs=jobs, recipe="as_published")
    for one in (tmp_path / "1").iterdir():
        assert one.read_bytes() == (tmp_path / "4" / one.name).read_bytes()


def test_prepare_counts_lists_and_names_what_it_refuses(make_official, tmp_path):
    source = make_official()
    pictures = _pictures(source)
    whole = (pictures / "00000001_000.png").read_bytes()
    (pictures / "00000001_000.png").write_bytes(whole[:500])
    (pictures / "00000001_001.png").write_bytes(b"")
    (pictures / "00000002_000.png").unlink()
    (pictures / "00000002_001.png").write_text("<html>")
    shutil.copy(pictures / "00000003_000.png", pictures / "stray.png")
    report = _prepare(source, tmp_path / "store")
    assert report.n_read == 36
    assert list(report.refused) == [f"0000000{patient}_00{image}.png" for patient in (1, 2) for image in (0, 1)]
    assert report.refused["00000001_001.png"] == "empty file"
    assert report.refused["00000002_000.png"] == "no such file among the pictures"
    assert report.refused["00000002_001.png"] == "not a PNG or JPEG picture"
    assert report.unlisted == ("images_001/images/stray.png",)
    for said in (
        "40 images listed, 36 read",
        "empty file: 1 (00000001_001.png)",
        "not listed: 1 (images_001/",
    ):
        assert said in report.text()
    written = json.loads((tmp_path / "store" / "report.json").read_text())
    assert written["refused"] == report.refused
    assert written["unlisted"] == ["images_001/images/stray.png"]
    with (tmp_path / "store" / "refused.csv").open() as lines:
        assert [row["image_id"] for row in csv.DictReader(lines)] == list(report.refused)


@pytest.mark.parametrize("name", ["../outside.png", "/etc/outside.png", "a/../../outside.png"])
def test_prepare_opens_nothing_outside_the_source(make_official, tmp_path, name):
    source = make_official()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "outside.png")
    for file in (COHORT_CSV, "train_val_list.txt"):
        (source / file).write_text((source / file).read_text().replace("00000001_000.png", name))
    report = _prepare(source, tmp_path / "store")
    assert report.refused == {name: "the name leads out of the source folder"}


def test_prepare_refuses_a_folder_without_its_pictures(make_official, tmp_path):
    source = make_official()
    shutil.rmtree(_pictures(source))
    with pytest.raises(UserError, match="40 of 40 listed pictures are not in .*Unpack every archive"):
        _prepare(source, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_prepare_a_second_time_says_so_and_changes_nothing(make_official, tmp_path):
    source = make_official()
    first = _prepare(source, tmp_path / "store")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()}
    second = _prepare(source, tmp_path / "store")
    assert (first.already_finished, second.already_finished) == (False, True)
    assert "already prepared" in second.text()
    assert "already prepared" not in first.text()
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": 32}, "size was 24, is now 32"),
        ({"recipe": "as_published"}, "recipe was"),
        ({"seed": 3}, "seed was 0, is now 3"),
        ({"valid_fraction": 0.4}, "valid_fraction was 0.2, is now 0.4"),
    ],
)
def test_prepare_with_other_choices_is_refused_by_name(make_official, tmp_path, changed, message):
    source = make_official()
    _prepare(source, tmp_path / "store")
    with pytest.raises(UserError, match=message):
        _prepare(source, tmp_path / "store", **changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": 8}, "size must be 16 to 2048 pixels; got 8"),
        ({"jobs": 0}, "jobs must be at least 1; got 0"),
        ({"recipe": "clahe"}, "recipe must be one of corrected, as_published; got 'clahe'"),
        ({"valid_fraction": 0}, "between 0 and 1; got 0"),
    ],
)
def test_prepare_refuses_choices_out_of_range(make_official, tmp_path, changed, message):
    with pytest.raises(UserError, match=message):
        _prepare(make_official(), tmp_path / "store", **changed)


def _simulated(out, **changed):
    choices = {"hospital": "sim-a", "n_train": 20, "n_valid": 6, "n_test": 10, "seed": 3, "size": 32}
    return prepare_simulated(out, progress=False, **(choices | changed))


def test_prepare_simulated_keeps_the_truth_beside_the_cohort(tmp_path):
    report = _simulated(tmp_path / "sim")
    store = open_store(tmp_path / "sim")
    truth = pd.read_parquet(tmp_path / "sim" / "truth.parquet")
    assert report.n_read == 36
    assert store.cohort["split"].value_counts().to_dict() == {"train": 20, "test": 10, "valid": 6}
    assert truth["image_id"].tolist() == store.cohort["image_id"].tolist()
    assert store.images.std() > 10
    assert _simulated(tmp_path / "sim").already_finished
    with pytest.raises(UserError, match="seed was 3, is now 4"):
        _simulated(tmp_path / "sim", seed=4)


def test_prepare_simulated_gives_the_same_images_for_any_number_of_jobs(tmp_path):
    _simulated(tmp_path / "one")
    _simulated(tmp_path / "three", jobs=3)
    assert (tmp_path / "one" / "images.npy").read_bytes() == (tmp_path / "three" / "images.npy").read_bytes()


@pytest.mark.sample
def test_prepare_reads_every_real_radiograph_of_the_sample(sample_data, tmp_path):
    report = prepare_chestxray14(sample_data / "chestxray14_sample", tmp_path / "store", size=64, jobs=2)
    store = open_store(tmp_path / "store")
    assert (report.n_read, report.refused, report.unlisted) == (1761, {}, ())
    contrast = store.images.reshape(1761, -1).std(axis=1)
    assert np.median(contrast) > 30
    assert contrast.min() > 5
