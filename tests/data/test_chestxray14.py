import json
import os

import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.chestxray14 import read_chestxray14
from dpcxr_core.data.cohort import MANIFESTS
from dpcxr_core.data.splits import check_patient_disjoint
from dpcxr_core.tables import COHORT, checked

PLAIN = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient {},View Position,{},"
    "OriginalImagePixelSpacing[x,y]"
)


def _read(source, valid_fraction=0.2, seed=0):
    return read_chestxray14(source, valid_fraction=valid_fraction, seed=seed)


def test_cohort_holds_its_contract_and_the_official_order(make_official):
    official = _read(make_official())
    cohort = checked(official.cohort, COHORT)
    assert len(cohort) == 40
    assert cohort["image_id"].is_monotonic_increasing
    first = cohort.iloc[1]
    assert (first["patient_id"], first["sex"], first["view"], first["age_years"]) == ("1", "F", "AP", 31.0)
    assert first["path"] == "images_001/images/00000001_001.png"
    assert first["raw_labels"] == "Effusion|Pneumonia"
    assert first[list(FINDINGS)].tolist() == [0, 0, 1, 1, 0]
    assert official.counts["rows_in_csv"] == 40
    assert not any(n for name, n in official.counts.items() if name != "rows_in_csv")
    assert official.unlisted == ()


def test_splits_follow_the_lists_and_validation_is_carved_by_patient(make_official):
    cohort = _read(make_official()).cohort
    check_patient_disjoint(cohort)
    assert set(cohort.loc[cohort["split"] == "test", "patient_id"]) == {"16", "17", "18", "19", "20"}
    assert cohort.loc[cohort["split"] == "valid", "patient_id"].nunique() == 3  # 0.2 of 15


@pytest.mark.parametrize(
    "header",
    [
        PLAIN.format("Gender", "OriginalImage[Width,Height]"),
        PLAIN.format("Sex", "OriginalImage[Width,Height]"),
        PLAIN.format("Gender", '"OriginalImage[Width,Height]"'),
        "\ufeff" + PLAIN.format("Gender", "OriginalImage[Width,Height]") + ",",
    ],
    ids=["official", "sex", "quoted", "byte_order_mark_and_trailing_comma"],
)
def test_columns_are_found_under_every_header_seen_in_copies(make_official, header):
    cohort = _read(make_official(header=header)).cohort
    assert cohort["sex"].tolist()[:4] == ["F", "F", "M", "M"]
    assert cohort["age_years"].tolist()[:3] == [31, 31, 32]


def test_first_release_is_understood_and_its_impossible_ages_are_counted(make_official):
    source = make_official(csv_name="Data_Entry_2017.csv", age="{:03d}Y")
    table = source / "Data_Entry_2017.csv"
    table.write_text(table.read_text().replace("031Y", "411Y"))
    official = _read(source)
    assert official.cohort["age_years"].isna().tolist()[:3] == [True, True, False]
    assert official.cohort["age_years"].iloc[2] == 32
    assert official.counts["ages_set_missing"] == 2


def test_rows_and_files_that_do_not_match_are_counted(make_official):
    source = make_official()
    pictures = source / "images_001" / "images"
    (pictures / "00000001_000.png").rename(pictures / "stray.png")
    listed = source / "train_val_list.txt"
    listed.write_text(listed.read_text().replace("00000002_000.png", "99999999_000.png"))
    official = _read(source)
    assert official.unlisted == ("images_001/images/stray.png",)
    assert official.counts["rows_in_neither_list"] == 1
    assert official.counts["listed_but_not_in_csv"] == 1
    assert len(official.cohort) == 39
    assert official.cohort["path"].isna().tolist() == [True] + [False] * 38


def test_pictures_behind_links_out_of_the_source_are_not_used(make_official, tmp_path):
    source = make_official()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    picture = source / "images_001" / "images" / "00000001_000.png"
    picture.rename(elsewhere / "secret.png")
    os.symlink(elsewhere / "secret.png", picture)
    (source / "images_002").mkdir()
    os.symlink(elsewhere, source / "images_002" / "images")
    official = _read(source)
    assert pd.isna(official.cohort["path"].iloc[0])
    assert official.counts["links_out_of_source"] == 2
    assert official.unlisted == ()


def _drop(name):
    return lambda source: (source / name).unlink()


def _edit(name, old, new):
    return lambda source: (source / name).write_text((source / name).read_text().replace(old, new))


def _list_other_images(source):
    for name in ("train_val", "test"):
        (source / f"{name}_list.txt").write_text(f"{name}.png")


CSV = "Data_Entry_2017_v2020.csv"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop(CSV), "has no Data_Entry_2017_v2020.csv or Data_Entry_2017.csv"),
        (_drop("test_list.txt"), "has no test_list.txt"),
        (_edit(CSV, "Patient ID", "Subject"), "has no column 'Patient ID'"),
        (_edit(CSV, "00000003_000.png,No Finding,0,3,33,F,PA,", "cut"), "line 6: 4 fields"),
        (_edit("test_list.txt", "00000016_000.png", "00000001_000.png"), "1 images are in both lists"),
        (_edit("train_val_list.txt", "00000001_000.png", "00000016_001.png"), "1 images are in both lists"),
        (_edit(CSV, ",0,20,", ",0,1,"), "1 of 20 patients have images in more than one split"),
        (_edit(CSV, "00000002_000.png", "00000001_000.png"), "image_id.*00000001_000.png"),
        (lambda source: (source / CSV).write_text(""), "has no column"),
        (lambda source: (source / CSV).write_bytes(b"\xff\xfe\x00"), "not a CSV text file"),
        (_list_other_images, "none of the 40 images"),
    ],
)
def test_source_not_as_documented_is_refused_with_its_reason(make_official, damage, message):
    source = make_official()
    damage(source)
    with pytest.raises(UserError, match=message):
        _read(source)


def test_missing_folder_says_what_is_expected(tmp_path):
    with pytest.raises(UserError, match="no folder .*none. Expected the ChestX-ray14 download: Data_Entry"):
        _read(tmp_path / "none")


@pytest.mark.sample
def test_sample_counts_equal_those_counted_apart_from_this_package(sample_data):
    golden = json.loads((MANIFESTS / "golden_counts.json").read_text())["chestxray14_sample"]
    official = _read(sample_data / "chestxray14_sample", valid_fraction=0.1)
    is_test = official.cohort["split"] == "test"
    for name, rows in (("train_val", official.cohort[~is_test]), ("test", official.cohort[is_test])):
        ages = rows["age_years"]
        found = {
            "images": len(rows),
            "patients": rows["patient_id"].nunique(),
            **{f"sex_{sex}": (rows["sex"] == sex).sum() for sex in "MF"},
            **{f"view_{view}": (rows["view"] == view).sum() for view in ("PA", "AP")},
            "age_0_to_39": (ages < 40).sum(),
            "age_40_to_69": ages.between(40, 69).sum(),
            "age_70_to_120": (ages >= 70).sum(),
            **{finding: (rows[finding] == 1).sum() for finding in FINDINGS},
        }
        assert found == golden[name]
    assert official.unlisted == ()
    assert official.cohort["path"].notna().all()


def test_golden_counts_of_the_full_set_add_up():
    counts = json.loads((MANIFESTS / "golden_counts.json").read_text())["chestxray14"]
    lists, whole = counts["official_list_lengths"], counts["all"]
    n_images = whole["images"]
    assert sum(lists.values()) == n_images
    assert whole["sex_M"] + whole["sex_F"] == n_images
    assert whole["view_PA"] + whole["view_AP"] == n_images
    assert sum(n for name, n in whole.items() if name.startswith("age_")) == n_images
