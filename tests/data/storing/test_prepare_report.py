import json

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.storing.prepare_report import PrepareReport, read_report, reported
from tests.data.storing.test_store_writing import _write


@pytest.fixture
def store(tmp_path):
    return _write(tmp_path / "toy")


def test_report_counts_what_the_store_holds_and_is_kept_in_it(store):
    report = reported(store, ("stray.png",), {"ages_set_missing": 2, "sex_set_missing": 0}, already_finished=False)
    assert (report.n_listed, report.n_read) == (23, 20)
    assert report.refused == {"i4": "empty file", "i5": "damaged", "i22": "empty file"}
    assert set(report.labels.values()) == {(20, 20)}
    kept = read_report(store.path)
    assert kept["refused"] == report.refused
    assert kept["unlisted"] == ["stray.png"]
    assert not {"out", "already_finished", "patient_ids"} & set(kept)


def test_text_names_reasons_with_counts_and_leaves_zeros_out(store):
    text = reported(store, ("stray.png",), {"ages_set_missing": 2, "sex_set_missing": 0}, already_finished=False).text()
    for said in (
        "toy: 23 images listed, 20 read into",
        "refused, empty file: 2 (i4, i22)",
        "refused, damaged: 1 (i5)",
        "found but not listed: 1 (stray.png)",
        "ages set missing: 2",
        "train: 8 images of 4 patients",
        "test: 8 images of 4 patients",
        "pleural effusion: 20 of 20 labelled images (100.0%)",
    ):
        assert said in text
    assert "sex" not in text
    assert "already" not in text


def test_text_says_so_where_nothing_was_done_or_labelled(store):
    text = PrepareReport(
        "toy", store.path, 9, 9, {}, (), {}, {}, "recorded", {"pneumonia": (0, 0)}, already_finished=True
    ).text()
    assert text.splitlines()[0].endswith("is already prepared with these choices; nothing was done.")
    assert text.splitlines()[-1] == "  pneumonia: 0 of 0 labelled images"


def test_only_the_first_names_of_a_reason_are_said():
    refused = {f"i{n}": "empty file" for n in range(7)}
    text = PrepareReport("toy", "toy", 9, 2, refused, (), {}, {}, "recorded", {}, already_finished=False).text()
    assert "empty file: 7 (i0, i1, i2, i3, i4, ...)" in text


def test_a_report_that_a_kill_prevented_is_written_by_the_next_call_and_never_changed(store):
    reported(store, (), {"first": 1}, already_finished=True)
    reported(store, (), {"second": 2}, already_finished=True)
    assert json.loads((store.path / "report.json").read_text())["counts"] == {"first": 1}


@pytest.mark.parametrize(
    ("patient_ids", "said"),
    [
        ("recorded", "5 images of 3 patients"),
        ("admissions", "5 images of 3 admissions"),
        ("none", "5 images, patients not known"),
    ],
)
def test_a_split_without_an_image_is_remarked_on_and_patients_are_called_what_they_are(store, patient_ids, said):
    splits = {"train": (5, 3), "test": (0, 0)}
    report = PrepareReport("toy", store.path, 9, 9, {}, (), {}, splits, patient_ids, {}, already_finished=False)
    assert report.text().splitlines()[-2:] == [f"  train: {said}", "  test: no image"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"counts": {}}'])
def test_a_damaged_report_is_refused_and_one_that_is_not_there_is_none(store, content):
    assert read_report(store.path) is None
    (store.path / "report.json").write_text(content)
    with pytest.raises(UserError, match=r"report\.json was damaged"):
        read_report(store.path)


@pytest.mark.parametrize("content", [None, "", "image_id,path,reason\n", "a,b\n1,2\n3,4\n5,6\n"])
def test_a_list_of_refused_files_that_is_gone_or_damaged_is_refused(store, content):
    (store.path / "refused.csv").unlink()
    if content is not None:
        (store.path / "refused.csv").write_text(content)
    with pytest.raises(UserError, match=r"refused\.csv .*prepare it again"):
        reported(store, (), {}, already_finished=True)
