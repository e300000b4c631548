import json
import shutil
import zlib
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.store import (
    check_images,
    check_patients_known,
    checksums_of,
    has_patient_ids,
    labels_of,
    open_store,
    read_checksums,
    rows_of,
    verify_store,
)
from dpcxr_core.data.storing.store_writing import Rendered, write_store

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 16), dtype=np.uint8)


@pytest.fixture
def store(tmp_path):
    cohort = pd.DataFrame(
        {
            "dataset": "toy",
            "image_id": [f"i{row}" for row in range(6)],
            "patient_id": ["a", "a", "b", "c", "d", "d"],
            "split": ["train", "train", "valid", "train", "test", "test"],
            "view": ["PA", "AP", None, "PA", "PA", "AP"],
            "sex": ["F", "F", "M", None, "M", "M"],
            "age_years": [30.0, 31.0, np.nan, 50.0, 60.0, 61.0],
            "path": None,
        }
    ).assign(**dict.fromkeys(FINDINGS, [0.0, 1.0, np.nan, 0.0, 1.0, 0.0]))
    out = tmp_path / "toy"
    draw = partial(map, lambda rows: Rendered(IMAGES[rows]))
    return write_store(out, cohort, draw, size=16, recipe={"name": "toy"}, progress=False)


def test_open_store_gives_images_and_cohort_in_one_order(store):
    opened = open_store(store.path)
    np.testing.assert_array_equal(opened.images, IMAGES)
    assert opened.cohort["image_id"].tolist() == [f"i{row}" for row in range(6)]
    assert opened.cohort["sex"].isna().tolist() == [False, False, False, True, False, False]
    assert opened.description["counts"]["train"]["images"] == 3
    check_images(opened)


def test_a_table_that_somebody_changes_is_as_it_was_where_the_store_is_opened_again(store):
    opened = open_store(store.path)
    opened.cohort["image_id"] = "another"
    assert open_store(store.path).cohort["image_id"].tolist() == [f"i{row}" for row in range(6)]


def test_images_of_a_store_cannot_be_written_to(store):
    with pytest.raises(ValueError, match="read-only"):
        store.images[0] = 0


def test_rows_of_and_labels_of_select_by_split(store):
    rows = rows_of(store, "valid")
    assert rows.tolist() == [2]
    assert np.isnan(labels_of(store, rows)).all()
    labels = labels_of(store, rows_of(store, "train"))
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, np.repeat([[0], [1], [0]], 5, axis=1))
    assert labels_of(store, np.array([], dtype=int)).shape == (0, 5)
    with pytest.raises(UserError, match="got 'training'"):
        rows_of(store, "training")


def _change_description(path, **changed):
    file = path / "store.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


def _drop_a_row(path):
    table = pd.read_parquet(path / "cohort.parquet").iloc[1:]
    table.to_parquet(path / "cohort.parquet", index=False)


def _drop_an_image(path):
    np.save(path / "images.npy", IMAGES[1:])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop_a_row, "cohort.parquet has SHA-256"),
        (_drop_an_image, r"images.npy holds \(5, 16, 16\) uint8, expected \(6, 16, 16\)"),
        (lambda path: np.save(path / "images.npy", IMAGES.astype(float)), "float64, expected"),
        (lambda path: (path / "images.npy").write_bytes(b"x"), "cannot be mapped"),
        (lambda path: _change_description(path, size=32), r"expected \(6, 32, 32\)"),
        (lambda path: (path / "store.json").write_text("{"), "store.json is not JSON"),
        (lambda path: (path / "store.json").write_text("[]"), "store.json holds a list, not keys"),
        (lambda path: (path / "store.json").write_text("{}"), "store.json lacks dataset, .*or written by an older"),
        (lambda path: _change_description(path, choices=None), "store.json lacks choices: it was changed"),
        (lambda path: _change_description(path, cohort_sha256=5), "store.json lacks cohort_sha256:"),
        (lambda path: (path / "images.npy").unlink(), "not a finished image store: no images.npy"),
        (shutil.rmtree, "not a finished image store: no store.json"),
    ],
)
def test_open_store_refuses_files_that_do_not_belong_together(store, damage, message):
    damage(store.path)
    with pytest.raises(UserError, match=message):
        open_store(store.path)


def test_open_store_refuses_rows_and_images_of_different_number(store):
    _drop_an_image(store.path)
    _change_description(store.path, n_images=5)
    with pytest.raises(UserError, match="6 rows in cohort.parquet, 5 images"):
        open_store(store.path)


def test_check_images_sees_one_changed_pixel(store):
    changed = IMAGES.copy()
    changed[3, 2, 1] ^= 1
    np.save(store.path / "images.npy", changed)
    with pytest.raises(UserError, match="images.npy has SHA-256"):
        check_images(open_store(store.path))


def test_verify_store_gives_the_store_or_names_the_damaged_rows(store):
    np.testing.assert_array_equal(verify_store(store.path).images, IMAGES)
    changed = IMAGES.copy()
    changed[[1, 4], 15, 15] ^= 128
    np.save(store.path / "images.npy", changed)
    with pytest.raises(UserError, match=r"2 of 6 images differ: rows 1 \(i1\), 4 \(i4\)\."):
        verify_store(store.path)


def test_verify_store_says_where_it_cannot_tell_which_rows(store):
    content = (store.path / "images.npy").read_bytes()
    (store.path / "images.npy").write_bytes(content.replace(b" \n", b"\t\n", 1))
    with pytest.raises(UserError, match="only the header"):
        verify_store(store.path)
    (store.path / "checksums.npy").unlink()
    with pytest.raises(UserError, match="Which rows is not known: checksums.npy is missing"):
        verify_store(store.path)


def test_checksums_are_crc_32_of_each_image():
    expected = [zlib.crc32(image.tobytes()) for image in IMAGES]
    assert checksums_of(IMAGES).tolist() == expected
    assert checksums_of(np.asfortranarray(IMAGES)).tolist() == expected


@pytest.mark.parametrize(("known", "said"), [("none", "each image counts as one"), ("admissions", "are admissions")])
def test_a_store_that_does_not_know_its_patients_is_refused_where_they_matter(store, known, said):
    assert has_patient_ids(store)
    check_patients_known(store)
    store = replace(store, description={**store.description, "patient_ids": known})
    assert has_patient_ids(store) is (known == "admissions")
    with pytest.raises(UserError, match=said):
        check_patients_known(store)


def test_checksums_are_read_only_as_they_were_written(store):
    assert read_checksums(store).tolist() == checksums_of(IMAGES).tolist()
    np.save(store.path / "checksums.npy", checksums_of(IMAGES[::-1]))
    with pytest.raises(UserError, match=r"checksums\.npy is missing or was changed"):
        read_checksums(store)
