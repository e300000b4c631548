import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpcxr_core.config import UserError
from dpcxr_core.data import prepare
from dpcxr_core.data.cohort import SplitChoice
from dpcxr_core.data.pictures.files import read_picture
from dpcxr_core.data.pictures.picture_reading import ListedPicture, open_file
from dpcxr_core.data.pictures.recipes import corrected
from dpcxr_core.data.prepare import DATASETS, facts_for, join_prepared, listed_picture, prepare_official
from dpcxr_core.data.store import open_store
from dpcxr_core.data.storing.shards import Shard
from dpcxr_core.provenance import PROJECT_FOLDER
from tests.data.pictures.conftest import damaged_files
from tests.data.sources.test_own_dicom import write_dicom

COHORT_CSV = "Data_Entry_2017_v2020.csv"
SPLIT = SplitChoice(recipe="official", valid_fraction=0.2)


def _prepare(source, out, **changed):
    return prepare_official("chestxray14", source, out, **({"size": 24, "split": SPLIT, "progress": False} | changed))


def _files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _pictures(source):
    return source / "images_001" / "images"


def test_prepare_stores_every_picture_by_its_recipe(make_official, tmp_path):
    source = make_official()
    report = _prepare(source, tmp_path / "store", jobs=3)
    store = open_store(tmp_path / "store")
    assert (report.n_listed, report.n_read, report.refused) == (40, 40, {})
    for image, path in zip(store.images, store.cohort["path"], strict=True):
        np.testing.assert_array_equal(image, corrected(read_picture(source / path), 24))
    assert store.description["recipe"]["name"] == "corrected"


def test_prepare_gives_the_same_bytes_for_any_number_of_jobs(make_official, tmp_path):
    source = make_official()
    for jobs in (1, 3):
        _prepare(source, tmp_path / str(jobs), jobs=jobs, recipe="as_published")
    assert _files(tmp_path / "1") == _files(tmp_path / "3")


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
    assert report.refused["00000002_001.png"] == "not a PNG, JPEG or DICOM picture"
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


def test_prepare_says_that_links_to_the_missing_pictures_are_not_followed(make_official, tmp_path):
    source = make_official()
    _pictures(source).rename(tmp_path / "nas")
    _pictures(source).symlink_to(tmp_path / "nas")
    with pytest.raises(UserError, match="40 of 40 listed pictures are not in .* 1 links lead out of the source"):
        _prepare(source, tmp_path / "store")


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
        ({"policy": "u_one"}, "policy was 'u_zero', is now 'u_one'"),
        ({"split": SplitChoice(recipe="official", seed=3, valid_fraction=0.2)}, "seed was 0, is now 3"),
        ({"split": SplitChoice(recipe="official", valid_fraction=0.4)}, "valid_fraction was 0.2, is now 0.4"),
        ({"split": SplitChoice(recipe="patients")}, "split was 'official', is now 'patients'"),
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
        ({"policy": "u_two"}, "no label policy 'u_two'; it has as_published, u_zero"),
        ({"manifest": Path("my.yml")}, "has a manifest of its own"),
    ],
)
def test_prepare_refuses_choices_out_of_range(make_official, tmp_path, changed, message):
    with pytest.raises(UserError, match=message):
        _prepare(make_official(), tmp_path / "store", **changed)


def _open_or_crash(source, path):
    if path.endswith(("03_001.png", "17_000.png")):
        os.kill(os.getpid(), signal.SIGSEGV)
    return open_file(source, path)


@pytest.mark.slow
def test_prepare_survives_decoders_that_crash_and_names_their_pictures(make_official, tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "chestxray14", (DATASETS["chestxray14"][0], _open_or_crash))
    source = make_official()
    for jobs in (1, 2):
        report = _prepare(source, tmp_path / str(jobs), jobs=jobs)
        assert report.n_read == 38
        assert report.refused == dict.fromkeys(["00000003_001.png", "00000017_000.png"], "the decoder crashed")
    assert _files(tmp_path / "1") == _files(tmp_path / "2")


def test_prepare_refuses_files_that_the_manifest_knows_to_be_bad(make_official, tmp_path, monkeypatch):
    known = {hashlib.sha256(b"00000004_001.png").hexdigest(): "known to be blank"}
    monkeypatch.setattr(prepare, "facts_of", lambda dataset: _real_facts(dataset) | {"bad_files": known})
    report = _prepare(make_official(), tmp_path / "store")
    assert report.refused == {"00000004_001.png": "known to be blank"}


_real_facts = prepare.facts_of


@pytest.mark.parametrize(
    ("image_id", "path"),
    [("../../good.png", None), ("/etc/good.png", np.nan), ("i0", "../here/good.png"), ("i0", "/etc/passwd")],
)
def test_nothing_that_a_table_says_leads_out_of_the_source(image_id, path):
    assert listed_picture(image_id, path, {}) == ListedPicture("", "the name leads out of the source folder")


def test_a_row_without_a_file_and_one_with():
    assert listed_picture("i0", None, {}).refused == "no such file among the pictures"
    assert listed_picture("i0", "a/b.png", {}) == ListedPicture("a/b.png")
    bad = {hashlib.sha256(b"b.png").hexdigest(): "blank"}
    assert listed_picture("i0", "a/b.png", bad).refused == "blank"


def test_prepare_equalises_no_set_that_is_equalised_already(make_official, tmp_path, monkeypatch):
    source = make_official()
    _prepare(source, tmp_path / "twice", recipe="as_published")
    monkeypatch.setattr(prepare, "facts_of", lambda dataset: _real_facts(dataset) | {"already_equalised": True})
    _prepare(source, tmp_path / "once", recipe="as_published")
    once, twice = open_store(tmp_path / "once"), open_store(tmp_path / "twice")
    assert once.description["recipe_hash"] != twice.description["recipe_hash"]
    assert not np.array_equal(once.images, twice.images)


def test_prepare_keeps_codes_policy_and_patients_with_the_store(make_official, tmp_path):
    report = _prepare(make_official(), tmp_path / "store")
    store = open_store(tmp_path / "store")
    assert store.description["choices"] == {"policy": "u_zero", "split": "official", "valid_fraction": 0.2, "seed": 0}
    assert store.description["patient_ids"] == "recorded"
    assert set(store.cohort["code_pneumonia"]) == {"mentioned", "not mentioned"}
    assert report.labels["pneumonia"] == (40, 10)
    assert "pneumonia: 10 of 40 labelled images (25.0%)" in report.text()


def test_joined_shards_are_the_files_of_one_run(make_official, tmp_path):
    source, of = make_official(), 3
    for broken in ("00000001_000.png", "00000020_001.png"):
        (_pictures(source) / broken).write_bytes(b"")
    shutil.copy(_pictures(source) / "00000002_000.png", _pictures(source) / "stray.png")
    whole = _prepare(source, tmp_path / "whole")
    for number in range(1, of + 1):
        _prepare(source, tmp_path / "parts", shard=Shard(number, of))
    report = join_prepared(tmp_path / "parts", progress=False)
    assert _files(tmp_path / "parts") == _files(tmp_path / "whole")
    assert report.text() == whole.text().replace(str(tmp_path / "whole"), str(tmp_path / "parts"))
    assert join_prepared(tmp_path / "parts").already_finished


def test_a_join_that_was_killed_before_its_report_writes_it_when_called_again(make_official, tmp_path):
    source, out = make_official(), tmp_path / "parts"
    for number in (1, 2):
        _prepare(source, out, shard=Shard(number, 2))
    whole = join_prepared(out, progress=False)
    report = (out / "report.json").read_bytes()
    (out / "report.json").unlink()
    Shard(1, 2).folder(out).joinpath("report.json").unlink()  # so was the shard
    again = join_prepared(out, progress=False)
    assert (again.counts, again.unlisted) == (whole.counts, list(whole.unlisted))
    assert (out / "report.json").read_bytes() == report
    for lost in (out, Shard(2, 2).folder(out)):
        (lost / "report.json").unlink()
    with pytest.raises(UserError, match=r"no shard of .* has its report\.json"):
        join_prepared(out, progress=False)


def test_prepare_refuses_a_set_in_which_nobody_trains(make_official, tmp_path):
    source = make_official()
    table = (source / COHORT_CSV).read_text().splitlines()
    (source / COHORT_CSV).write_text("\n".join([table[0], *table[-4:]]) + "\n")
    names = [line.split(",")[0] for line in table[-4:]]
    (source / "train_val_list.txt").write_text("")
    (source / "test_list.txt").write_text("\n".join(names))
    with pytest.raises(UserError, match=r"none of the 4 images of chestxray14 would train \(4 test\)"):
        _prepare(source, tmp_path / "store")
    assert not (tmp_path / "store.partial").exists()


_DICOM = """
name: north
rows_from: dicom
labels: {folders: {pneumonia: [a]}, not_used: [b]}
"""


def _archive(folder, patients):
    for number, patient in enumerate(patients):
        path = folder / "archive" / "ab"[number % 2] / f"{number}.dcm"
        write_dicom(path, PatientID=patient, ViewPosition="PA")
    (folder / "north.yml").write_text(_DICOM)
    return folder / "archive"


def _prepare_archive(folder, patients, **changed):
    arguments = {"size": 16, "manifest": folder / "north.yml", "progress": False} | changed
    return prepare_official("own", _archive(folder, patients), folder / "store", **arguments)


@pytest.mark.parametrize(
    ("patients", "message"),
    [
        (["ANONYMOUS"] * 8, "8 images of north have 1 patient id, .* leaves none for valid and test.*'patient: none'"),
        ([f"p{n % 5}" for n in range(10)], "have 5 patient ids, .* leaves none for valid. .*shares: --valid-fraction"),
    ],
)
def test_prepare_refuses_a_drawn_split_that_leaves_nobody_to_validate_or_test(tmp_path, patients, message):
    with pytest.raises(UserError, match=message):
        _prepare_archive(tmp_path, patients)
    assert not (tmp_path / "store.partial").exists()


def test_each_cure_of_a_drawn_split_that_leaves_nobody_cures_it(tmp_path):
    (tmp_path / "few").mkdir()
    larger = SplitChoice(recipe="patients", valid_fraction=0.2)
    assert _prepare_archive(tmp_path / "few", [f"p{n % 5}" for n in range(10)], split=larger).splits["valid"] == (2, 1)
    (tmp_path / "alike").mkdir()
    source = _archive(tmp_path / "alike", ["ANONYMOUS"] * 10)
    manifest = tmp_path / "alike" / "north.yml"
    manifest.write_text(_DICOM + "patient: none\n")
    report = prepare_official("own", source, tmp_path / "store", size=16, manifest=manifest, progress=False)
    assert [images for images, _ in report.splits.values()] == [7, 1, 2]


def test_published_split_without_a_test_part_is_kept(make_official, tmp_path):
    source = make_official()
    names = (source / "test_list.txt").read_text()
    (source / "test_list.txt").write_text("")
    with (source / "train_val_list.txt").open("a") as lines:
        lines.write("\n" + names)
    report = _prepare(source, tmp_path / "store")
    assert report.splits["test"] == (0, 0)
    assert report.splits["valid"][0] > 0


_SLOW = """
import sys, time
from pathlib import Path
from dpcxr_core.data import prepare
from dpcxr_core.data.storing import store_writing
from tests.data.test_prepare import _open_slowly, _prepare
if __name__ == "__main__":
    store_writing._MOST_A_CHUNK = 2
    prepare.DATASETS["chestxray14"] = (prepare.DATASETS["chestxray14"][0], _open_slowly)
    _prepare(Path(sys.argv[1]), Path(sys.argv[2]), jobs=2)
"""


def _open_slowly(source, path):
    with (source.parent / "opened.txt").open("a") as opened:
        opened.write(f"{path}\n")
    time.sleep(0.05)
    return open_file(source, path)


@pytest.mark.slow
def test_prepare_goes_on_after_kill_9_at_any_moment_and_reads_nothing_again_that_was_kept(make_official, tmp_path):
    source, out, rng = make_official(), tmp_path / "store", random.Random(0)
    whole = _files(_prepare(source, tmp_path / "whole").out)
    journal = tmp_path / "store.partial" / "journal.jsonl"
    kept_before = 0
    for _ in range(2):
        command = [sys.executable, "-c", _SLOW, str(source), str(out)]
        with subprocess.Popen(command, cwd=PROJECT_FOLDER) as process:
            wanted = kept_before + rng.randint(1, 5)
            while process.poll() is None and not (
                journal.exists() and len(journal.read_bytes().splitlines()) >= wanted
            ):
                time.sleep(0.01)
            time.sleep(rng.random() * 0.05)
            process.kill()
        kept = journal.read_bytes()
        kept_before = kept.count(b"\n")
        rows_done = json.loads(kept.splitlines()[kept_before - 1])["rows_done"]
        time.sleep(2.5)  # until the processes have seen that their parent is gone
        (tmp_path / "opened.txt").write_text("")
        assert not out.exists()
    command = [sys.executable, "-c", _SLOW, str(source), str(out)]
    subprocess.run(command, cwd=PROJECT_FOLDER, check=True)
    opened = (tmp_path / "opened.txt").read_text().splitlines()
    assert len(opened) == len(set(opened)) == 40 - rows_done
    assert _files(out) == whole


@pytest.mark.slow
def test_prepare_reads_or_names_each_of_a_thousand_damaged_files(make_official, tmp_path):
    source = make_official()
    kinds = damaged_files(_pictures(source), 1000, 0)
    header = (source / COHORT_CSV).read_text().splitlines()[0]
    good = [f"{10_000_000 + n}_000.png" for n in range(1100)]  # so that most pictures can be read
    whole = (_pictures(source) / "00000001_000.png").read_bytes()
    for name in good:
        (_pictures(source) / name).write_bytes(whole)
    names = [*kinds, *good]
    rows = [f'"{name}",No Finding,0,{n},50,F,PA,9,9,0.1,0.1' for n, name in enumerate(names)]
    (source / COHORT_CSV).write_text("\n".join([header, *rows]) + "\n")
    (source / "train_val_list.txt").write_text("\n".join(names[::2]))
    (source / "test_list.txt").write_text("\n".join(names[1::2]))
    report = _prepare(source, tmp_path / "store", jobs=2)
    assert set(report.refused) <= set(kinds)
    assert report.n_read + len(report.refused) == len(names)
    assert all(report.refused.values())
    assert len(report.refused) > 400


@pytest.mark.parametrize("dataset", [name for name in DATASETS if name != "own"])
def test_without_its_files_each_set_says_how_to_get_them(dataset, tmp_path):
    with pytest.raises(UserError, match=f"{dataset} needs --source, .* To get them: "):
        prepare_official(dataset, None, tmp_path / "store", size=24)


def test_unknown_sets_and_manifests_that_are_missing_are_refused(tmp_path):
    with pytest.raises(UserError, match="no data set 'chest'; choose one of chestxray14, chexpert"):
        facts_for("chest", None)
    with pytest.raises(UserError, match="own needs --manifest"):
        facts_for("own", None)
    with pytest.raises(UserError, match=r"no manifest .*my\.yml"):
        facts_for("own", tmp_path / "my.yml")


@pytest.mark.sample
def test_prepare_reads_every_real_radiograph_of_the_sample(sample_data, tmp_path):
    report = _prepare(sample_data / "chestxray14_sample", tmp_path / "store", size=64, jobs=2)
    store = open_store(tmp_path / "store")
    assert (report.n_read, report.refused, report.unlisted) == (1761, {}, ())
    contrast = store.images.reshape(1761, -1).std(axis=1)
    assert np.median(contrast) > 30
    assert contrast.min() > 5
