import os

import numpy as np
import pytest
from PIL import Image

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.cohort import SplitChoice, cohort_of
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.policies import policies_of, policy_named
from dpcxr_core.data.sources.uka_cxr import read_uka_cxr
from dpcxr_core.tables import COHORT, checked

FACTS = facts_of("uka_cxr")
# The order in which data/csv_data_preprocess.py of tayebiarasteh/chestx (ec279bb) writes; "disturbances" became
# "atelectasis" later.
HEADER = (
    "image_id,split,subset,birth_date,examination_date,study_time,patient_sex,ExposureinuAs,cardiomegaly,congestion,"
    "pleural_effusion_right,pleural_effusion_left,pneumonic_infiltrates_right,pneumonic_infiltrates_left,"
    "disturbances_right,disturbances_left,pneumothorax_right,pneumothorax_left,subject_id"
)
ROWS = [  # request, split, born, examined, sex, heart ... left lung, admission
    ("101", "train", "1950-03-01", "2012-03-01", "M", "3,1,1,1,1,1,1,1", "9001"),
    ("102", "train", "1950-03-01", "2012-03-09", "M", "1,1,5,2,1,1,1,1", "9001"),
    ("103", "train", "1950-03-01", "2014-01-01", "M", "1.0,1.0,1.0,4.0,1.0,1.0,1.0,1.0", "9002"),
    ("104", "train", "2012-01-02", "2012-01-01", "F", "5,1,1,1,1,1,1,1", "9003"),
    ("105", "valid", "1890-01-01", "2012-01-01", "O", "2,1,1,1,5,1,1,1", "9004"),
    ("106", "valid", "01.02.1960", "2012-01-01", "W", "1,1,1,1,1,1,0,1", "9005"),
    ("107", "test", "", "2012-01-01", "", "1,1,1,1,1,1,1,1", "9006"),
    ("108", "test", "1960-01-01", "2012-01-01", "F", ",1,1,1,1,1,3,1", "9007"),
]


@pytest.fixture
def make_uka(tmp_path):
    """A folder in the layout of the lab's code, with its traps; one picture a request, in a series folder."""

    def make(header=HEADER, rows=ROWS, extra=lambda row: "", name="original_UKA_master_list.csv"):
        source = tmp_path / "uka"
        lines = [header]
        for row in rows:
            image, split, born, examined, sex, grades, admission = row
            lines.append(f"{image},{split},p1,{born},{examined},120000,{sex},1200,{grades},1,1,{admission}{extra(row)}")
            series = source / "dicom_files" / image / "1.2.3"
            series.mkdir(parents=True)
            Image.fromarray(np.full((8, 8), int(image), np.uint8)).save(series / "1.2.3.4", format="PNG")
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return source

    return make


def test_table_says_what_the_list_says(make_uka):
    official = read_uka_cxr(make_uka(), FACTS)
    table = official.table
    assert table["image_id"].tolist() == [row[0] for row in ROWS]
    assert table["path"].iloc[0] == "dicom_files/101/1.2.3/1.2.3.4"
    assert table["split"].tolist() == ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    assert set(table["view"]) == {"AP"}
    assert table["code_cardiomegaly"].tolist() == ["3", "1", "1", "5", "2", "1", "1", "0"]
    assert table["code_pleural_effusion"].tolist() == ["1", "2", "4", "1", "1", "1", "1", "1"]
    assert table["code_pneumonia"].tolist() == ["1", "1", "1", "1", "5", "1", "1", "1"]
    assert table["code_atelectasis"].tolist() == ["1", "1", "1", "1", "1", "0", "1", "3"]
    assert table["code_no_finding"].tolist() == [
        *("present", "present", "present", "not graded", "questionable", "not graded", "none", "present")
    ]
    assert table.loc[1, ["grade_pleural_effusion_right", "grade_pleural_effusion_left"]].tolist() == ["5", "2"]
    assert official.unlisted == ()
    assert official.counts["images_with_a_finding_not_graded"] == 3  # 104, 106 and 108


def test_age_is_between_the_two_dates_or_missing_and_counted(make_uka):
    official = read_uka_cxr(make_uka(), FACTS)
    ages = official.table["age_years"]
    assert ages[0] == pytest.approx(62, abs=0.01)
    assert ages[2] == pytest.approx(63.84, abs=0.01)
    assert ages.isna().tolist() == [False, False, False, True, True, True, True, False]
    assert official.counts["ages_set_missing"] == 3  # born later, 122 years old, German date; a blank is not counted


def test_sex_is_never_guessed_where_the_labs_column_calls_all_others_women(make_uka):
    official = read_uka_cxr(make_uka(), FACTS)
    assert official.table["sex"].tolist() == ["M", "M", "M", "F", None, None, None, "F"]
    assert official.counts["sex_set_missing"] == 2


def test_admission_stands_for_the_patient_and_is_counted(make_uka):
    official = read_uka_cxr(make_uka(), FACTS)
    assert (FACTS["patient_ids"], official.patient_ids) == ("admissions", None)
    assert official.table["patient_id"].tolist() == [row[-1] for row in ROWS]
    assert official.counts["images_whose_patient_id_is_an_admission"] == 8
    assert official.counts["images_of_the_synthetic_stand_in"] == 0


def test_patient_column_is_preferred_where_a_copy_has_it(make_uka):
    source = make_uka(HEADER + ",patient_id", extra=lambda row: ",anna" if row[2] == "1950-03-01" else f",p{row[0]}")
    official = read_uka_cxr(source, FACTS)
    assert official.table["patient_id"].tolist()[:4] == ["anna", "anna", "anna", "p104"]
    assert official.table["admission_id"].tolist()[:3] == ["9001", "9001", "9002"]
    assert official.counts["images_whose_patient_id_is_an_admission"] == 0
    assert official.patient_ids == "recorded"


def test_split_by_admission_that_parts_a_known_patient_is_refused(make_uka):
    rows = [(*row[:1], "test" if row[0] == "103" else row[1], *row[2:]) for row in ROWS]
    source = make_uka(HEADER + ",patient_id", rows, lambda row: ",anna" if row[2] == "1950-03-01" else f",p{row[0]}")
    official = read_uka_cxr(source, FACTS)
    with pytest.raises(UserError, match="more than one split"):
        cohort_of(official, FACTS, policy_named(FACTS, None), SplitChoice(recipe="official"))


def test_column_healthy_is_believed_where_there_is_one(make_uka):
    source = make_uka(HEADER + ",healthy", extra=lambda row: {"101": ",1", "102": ",0", "103": ",1.0"}.get(row[0], ","))
    official = read_uka_cxr(source, FACTS)
    assert official.table["code_no_finding"].tolist()[:4] == ["healthy", "not healthy", "healthy", None]
    labels = cohort_of(official, FACTS, policy_named(FACTS, "u_one"), SplitChoice(recipe="official")).cohort
    assert labels["no_finding"].tolist()[:3] == [1, 0, 1]
    assert labels["no_finding"].isna().tolist()[3:] == [True] * 5


def test_cohort_is_built_under_every_policy_and_as_published_is_three_or_four(make_uka):
    official = read_uka_cxr(make_uka(), FACTS)
    for name, policy in policies_of(FACTS).items():
        cohort = cohort_of(official, FACTS, policy, SplitChoice(recipe="official")).cohort
        checked(cohort, COHORT)
        if name == "as_published":
            for finding in FINDINGS[:4]:
                assert (cohort[finding] == 1).tolist() == official.table[f"code_{finding}"].isin(["3", "4"]).tolist()
            assert cohort[list(FINDINGS)].notna().all(axis=None)


def test_newer_header_and_other_names_of_the_list_are_found(make_uka):
    header = "\ufeff" + HEADER.replace("disturbances", "atelectasis")
    source = make_uka(header, name="labels/original_novalid_UKA_master_list.csv")
    assert read_uka_cxr(source, FACTS).table["code_atelectasis"].tolist()[7] == "3"


def test_request_with_two_pictures_gets_none_and_strays_are_named(make_uka, tmp_path):
    source = make_uka()
    folders = source / "dicom_files"
    os.link(folders / "101" / "1.2.3" / "1.2.3.4", folders / "101" / "second")
    (folders / "102" / "1.2.3" / "1.2.3.4").unlink()
    (folders / "999").mkdir()
    os.link(folders / "103" / "1.2.3" / "1.2.3.4", folders / "999" / "stray")
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", folders / "888")
    official = read_uka_cxr(source, FACTS)
    assert official.table["path"].isna().tolist() == [True, True] + [False] * 6
    assert official.counts["requests_with_several_pictures"] == 1
    assert official.counts["links_out_of_source"] == 1
    assert official.unlisted == ("dicom_files/101/1.2.3/1.2.3.4", "dicom_files/101/second", "dicom_files/999/stray")


def test_equalised_jpegs_of_the_lab_are_not_taken_for_pictures(make_uka):
    source = make_uka()
    (source / "dicom_files").rename(source / "UKA_preprocessed")
    assert read_uka_cxr(source, FACTS).table["path"].isna().all()


def _edit(old, new):
    def edit(source):
        path = source / "original_UKA_master_list.csv"
        path.write_text(path.read_text().replace(old, new))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda source: (source / "original_UKA_master_list.csv").unlink(), "has no original_novalid_UKA_master_list"),
        (_edit("subject_id", "Aufnahmenummer"), "has no column 'subject_id'"),
        (_edit("disturbances_left", "lung_left"), "has no column 'atelectasis_left' or 'disturbances_left'"),
        (_edit("1200,3,", "1200,7,"), r"cardiomegaly holds '7' \(1 times\)"),
        (_edit(",valid,", ",val,"), r"split holds 'val' \(2 times\); known are 'train', 'valid', 'test'"),
    ],
)
def test_list_not_as_documented_is_refused_with_its_reason(make_uka, damage, message):
    source = make_uka()
    damage(source)
    with pytest.raises(UserError, match=message):
        read_uka_cxr(source, FACTS)


def test_two_rows_of_one_request_that_differ_are_refused(make_uka):
    source = make_uka()
    with (source / "original_UKA_master_list.csv").open("a") as lines:
        lines.write("101,train,p1,1950-03-01,2012-03-01,120000,M,1200,4,1,1,1,1,1,1,1,1,1,9001\n")
    with pytest.raises(UserError, match="1 image ids stand in rows that differ"):
        cohort_of(read_uka_cxr(source, FACTS), FACTS, policy_named(FACTS, None), SplitChoice(recipe="official"))
