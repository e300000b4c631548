import json
import os

import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.cohort import SplitChoice, cohort_of
from dpcxr_core.data.manifests import MANIFESTS, facts_of
from dpcxr_core.data.policies import POLICY_NAMES, policy_named
from dpcxr_core.data.sources.chestxray14 import read_chestxray14
from dpcxr_core.data.splits import check_patient_disjoint

FACTS = facts_of("chestxray14")
PLAIN = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient {},View Position,{},"
    "OriginalImagePixelSpacing[x,y]"
)


def _read(source):
    return read_chestxray14(source, FACTS)


def _cohort(source, policy="u_zero", valid_fraction=0.2):
    split = SplitChoice(recipe=FACTS["default_split"], valid_fraction=valid_fraction)
    return cohort_of(_read(source), FACTS, policy_named(FACTS, policy), split)


def test_table_says_what_the_files_say_in_the_official_order(make_official):
    official = _read(make_official())
    table = official.table
    assert len(table) == 40
    assert table["image_id"].is_monotonic_increasing
    first = table.iloc[1]
    assert (first["patient_id"], first["sex"], first["view"], first["age_years"]) == ("1", "F", "AP", 31.0)
    assert first["path"] == "images_001/images/00000001_001.png"
    assert first["raw_labels"] == "Effusion|Pneumonia"
    codes = ["not mentioned", "not mentioned", "mentioned", "mentioned", "not mentioned"]
    assert first[[f"code_{finding}" for finding in FINDINGS]].tolist() == codes
    assert official.counts["rows_in_csv"] == 40
    assert not any(n for name, n in official.counts.items() if name != "rows_in_csv")
    assert official.unlisted == ()


@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_all_policies_are_alike_as_the_set_has_no_uncertain_code(make_official, policy):
    cohort = _cohort(make_official(), policy).cohort
    assert cohort.iloc[1][list(FINDINGS)].tolist() == [0, 0, 1, 1, 0]
    assert cohort[list(FINDINGS)].sum().tolist() == [10, 10, 10, 10, 10]


def test_splits_follow_the_lists_and_validation_is_carved_by_patient(make_official):
    cohort = _cohort(make_official()).cohort
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
    table = _read(make_official(header=header)).table
    assert table["sex"].tolist()[:4] == ["F", "F", "M", "M"]
    assert table["age_years"].tolist()[:3] == [31, 31, 32]


def test_first_release_is_understood_and_its_impossible_ages_are_counted(make_official):
    source = make_official(csv_name="Data_Entry_2017.csv", age="{:03d}Y")
    path = source / "Data_Entry_2017.csv"
    path.write_text(path.read_text().replace("031Y", "411Y"))
    official = _read(source)
    assert official.table["age_years"].isna().tolist()[:3] == [True, True, False]
    assert official.table["age_years"].iloc[2] == 32
    assert official.counts["ages_set_missing"] == 2


def test_rows_and_files_that_do_not_match_are_counted(make_official):
    source = make_official()
    pictures = source / "images_001" / "images"
    (pictures / "00000001_000.png").rename(pictures / "stray.png")
    listed = source / "train_val_list.txt"
    listed.write_text(listed.read_text().replace("00000002_000.png", "99999999_000.png"))
    made = _cohort(source)
    assert made.unlisted == ("images_001/images/stray.png",)
    assert made.counts["in_no_split"] == 1
    assert made.counts["listed_but_not_in_csv"] == 1
    assert len(made.cohort) == 39
    assert made.cohort["path"].isna().tolist() == [True] + [False] * 38


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
    assert pd.isna(official.table["path"].iloc[0])
    assert official.counts["links_out_of_source"] == 2
    assert official.unlisted == ()


def test_row_that_names_a_file_outside_keeps_no_path(make_official, tmp_path):
    source = make_official()
    (tmp_path / "secret.png").write_bytes(b"")
    for name in (CSV, "train_val_list.txt"):
        path = source / name
        path.write_text(path.read_text().replace("00000001_000.png", "../secret.png"))
    official = _read(source)
    assert official.table["image_id"].iloc[0] == "../secret.png"
    assert pd.isna(official.table["path"].iloc[0])


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
        (
            _edit(CSV, "Pneumothorax", "Pneumothorx"),
            r"holds 'Pneumothorx' \(10 times\); the set's terms are",
        ),
        (_edit("test_list.txt", "00000016_000.png", "00000001_000.png"), "1 images are in both lists"),
        (_edit("train_val_list.txt", "00000001_000.png", "00000016_001.png"), "1 images are in both lists"),
        (_edit(CSV, ",0,20,", ",0,1,"), "1 of 20 patients have images in more than one split"),
        (_edit(CSV, "00000002_000.png", "00000001_000.png"), "1 image ids stand in rows that differ"),
        (lambda source: (source / CSV).write_text(""), "has no column"),
        (lambda source: (source / CSV).write_bytes(b"\xff\xfe\x00"), "not text in UTF-8"),
        (lambda source: (source / "test_list.txt").write_bytes(b"\xff\xfe\x00"), "test_list.txt is not text in UTF-8"),
        (_list_other_images, "none of the 40 images"),
    ],
)
def test_source_not_as_documented_is_refused_with_its_reason(make_official, damage, message):
    source = make_official()
    damage(source)
    with pytest.raises(UserError, match=message):
        _cohort(source)


def test_missing_folder_says_what_is_expected(tmp_path):
    with pytest.raises(UserError, match="no folder .*none. Expected the ChestX-ray14 download, with Data_Entry"):
        _read(tmp_path / "none")


@pytest.mark.sample
def test_sample_counts_equal_those_counted_apart_from_this_package(sample_data):
    golden = json.loads((MANIFESTS / "golden_counts.json").read_text())["chestxray14_sample"]
    made = _cohort(sample_data / "chestxray14_sample", valid_fraction=0.1)
    is_test = made.cohort["split"] == "test"
    for name, rows in (("train_val", made.cohort[~is_test]), ("test", made.cohort[is_test])):
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
    assert made.unlisted == ()
    assert made.cohort["path"].notna().all()
