import shutil

import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.cohort import SplitChoice, cohort_of
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.policies import policy_named
from dpcxr_core.data.sources.chexpert import read_chexpert

FACTS = facts_of("chexpert")
LABELS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
UNCERTAIN = {"Atelectasis": "-1.0", "Pleural Effusion": "0.0", "Pneumonia": "1.0", "Support Devices": "1.0"}
ROWS = [
    ("patient80001/study1/view1_frontal.jpg", "Female", "68", "Frontal", "AP", UNCERTAIN),
    ("patient80001/study1/view2_lateral.jpg", "Female", "68", "Lateral", "", UNCERTAIN),
    ("patient80001/study2/view1_frontal.jpg", "Female", "69", "Frontal", "PA", {"No Finding": "1.0"}),
    ("patient80002/study1/view1_frontal.jpg", "Unknown", "0", "Frontal", "LL", {"Edema": "-1.0"}),
    ("patient80003/study1/view1_frontal.jpg", "Male", "90", "Frontal", "RL", {}),
] + [(f"patient8{n:04d}/study1/view1_frontal.jpg", "Male", "41", "Frontal", "AP", {}) for n in range(4, 24)]
TEST_STUDIES = ["patient94741", "patient94742", "patient94743"]


def _read(source):
    return read_chexpert(source, FACTS)


def _cohort(source, policy="u_zero", recipe="patients"):
    return cohort_of(_read(source), FACTS, policy_named(FACTS, policy), SplitChoice(recipe=recipe))


def _add_test_set(release, studies=TEST_STUDIES):
    lines = [f"Study,{LABELS}"]
    lines += [f"CheXpert-v1.0/test/{patient}/study1," + ",".join(["0"] * 13 + ["1"]) for patient in studies]
    (release / "groundtruth.csv").write_text("\n".join(lines) + "\n")
    picture = release / "train" / ROWS[0][0]
    for path in ("patient94741/study1/view1_frontal.jpg", "patient94741/study1/view2_lateral.jpg"):
        (release / "test" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, release / "test" / path)
    (release / "test" / "patient94742" / "study1").mkdir(parents=True)
    shutil.copy(picture, release / "test" / "patient94742" / "study1" / "view1_frontal.jpg")
    (release / "test" / "patient99999" / "study1").mkdir(parents=True)
    shutil.copy(picture, release / "test" / "patient99999" / "study1" / "view1_frontal.jpg")


def test_table_says_what_the_files_say(make_chexpert):
    official = _read(make_chexpert(ROWS))
    first = official.table.iloc[0]
    assert first["image_id"] == first["path"] == "train/patient80001/study1/view1_frontal.jpg"
    assert (first["patient_id"], first["study_id"]) == ("patient80001", "patient80001/study1")
    assert (first["split"], first["view"], first["sex"], first["age_years"]) == ("train", "AP", "F", 68)
    codes = {"atelectasis": "-1", "pleural_effusion": "0", "pneumonia": "1", "cardiomegaly": "blank"}
    assert {label: first[f"code_{label}"] for label in codes} == codes
    assert first["code_support_devices"] == "1"
    assert first["code_no_finding"] == "blank"
    assert official.table["split"].value_counts().to_dict() == {"train": 25, "valid": 2}
    assert official.table["code_no_finding"].tolist()[-2:] == ["0", "0"]  # read by radiologists: never blank
    assert official.unlisted == ()


def test_traps_are_set_missing_and_counted(make_chexpert):
    official = _read(make_chexpert(ROWS))
    assert official.counts == {
        "rows_in_csv": 27,
        "labelled_test_studies_without_pictures": 0,
        "ages_that_mean_unknown": 1,
        "ages_set_missing": 0,
        "sex_set_missing": 1,
        "frontal_images_with_a_lateral_projection": 2,
        "demographics_workbook_not_saved_as_csv": 0,
        "links_out_of_source": 0,
    }
    table = official.table
    assert pd.isna(table["sex"].iloc[3])
    assert pd.isna(table["age_years"].iloc[3])
    assert table["age_years"].iloc[4] == 90
    assert table["view"].tolist()[:3] == ["AP", "other", "PA"]
    assert table["view"].iloc[3:5].isna().all()
    assert official.table["race"].isna().all()


@pytest.mark.parametrize("prefix", ["CheXpert-v1.0", "CheXpert-v1.0-small", "elsewhere"])
def test_both_prefixes_and_both_folders_give_the_same_images(make_chexpert, prefix):
    small = _read(make_chexpert(ROWS)).table
    release = make_chexpert(ROWS, prefix=prefix, folder="CheXpert-v1.0")
    pd.testing.assert_frame_equal(_read(release).table, small)
    for picture in (release.parent / "CheXpert-v1.0-small").rglob("*.csv"):
        picture.unlink()
    shutil.rmtree(release.parent / "CheXpert-v1.0-small")
    from_parent = _read(release.parent)
    pd.testing.assert_frame_equal(from_parent.table.drop(columns="path"), small.drop(columns="path"))
    assert (release.parent / from_parent.table["path"].iloc[0]).is_file()


def test_codes_written_with_and_without_a_point_are_the_same(make_chexpert):
    release = make_chexpert(ROWS)
    before = _read(release).table
    path = release / "train.csv"
    path.write_text(path.read_text().replace("1.0,", "1,").replace("0.0,", "0,").replace("-v1,", "-v1.0,"))
    after = _read(release).table
    pd.testing.assert_frame_equal(after, before)
    assert "-1," in path.read_text()


def test_cohort_of_patients_is_drawn_from_train_csv_and_keeps_frontal_images(make_chexpert):
    release = make_chexpert(ROWS)
    _add_test_set(release)
    made = _cohort(release)
    assert made.counts["in_no_split"] == 5  # valid.csv, and the three pictures of the test studies
    assert made.counts["view_not_frontal"] == 1
    assert len(made.cohort) == 24
    assert made.cohort.groupby("split")["patient_id"].nunique().to_dict() == {"test": 5, "train": 16, "valid": 2}
    assert made.cohort["image_id"].str.startswith("train/").all()
    assert _cohort(release, "as_published").counts["left_out_by_policy_as_published"] == 1  # uncertain edema


def test_official_split_validates_on_valid_csv_and_tests_on_the_labelled_test_studies(make_chexpert):
    release = make_chexpert(ROWS)
    _add_test_set(release)
    made = _cohort(release, recipe="official")
    assert made.cohort["split"].value_counts().to_dict() == {"train": 24, "valid": 2, "test": 2}
    test = made.cohort[made.cohort["split"] == "test"]
    assert test["image_id"].tolist() == [
        "test/patient94741/study1/view1_frontal.jpg",
        "test/patient94742/study1/view1_frontal.jpg",
    ]
    assert (test[list(FINDINGS)] == 0).all(axis=None)
    assert (test["code_support_devices"] == "1").all()
    assert test[["sex", "age_years", "view"]].isna().all(axis=None)
    assert made.counts["labelled_test_studies_without_pictures"] == 1
    assert made.unlisted == ("test/patient99999/study1/view1_frontal.jpg",)


def test_labels_of_two_studies_of_a_patient_are_never_mixed(make_chexpert):
    """A first value by patient, as some readers take, would give study 2 the uncertain atelectasis of study 1."""
    table = _read(make_chexpert(ROWS)).table
    second = table[table["study_id"] == "patient80001/study2"].iloc[0]
    assert second["code_atelectasis"] == "blank"
    assert second["code_no_finding"] == "1"
    mixed = table.where(table != "blank", None).groupby("patient_id").first()
    assert mixed.loc["patient80001", "code_atelectasis"] == "-1"


def test_race_is_joined_by_patient_and_what_is_missing_or_conflicting_is_counted(make_chexpert):
    release = make_chexpert(ROWS)
    lines = [
        "PATIENT,GENDER,AGE_AT_CXR,PRIMARY_RACE,ETHNICITY",
        'patient80001,Female,68,"White, non-Hispanic",Non-Hispanic/Non-Latino',
        'patient80001,Female,69,"White, non-Hispanic",Non-Hispanic/Non-Latino',
        "patient80002,Male,50,Asian,Unknown",
        "patient80002,Male,50,Other,Unknown",
        "patient80003,Male,90,,Unknown",
    ]
    (release / "CHEXPERT DEMO.csv").write_text("\n".join(lines) + "\n")
    official = _read(release)
    assert official.table["race"].iloc[0] == official.table["race"].iloc[2] == "White, non-Hispanic"
    assert official.table["race"].iloc[3:].isna().all()
    assert official.table["ethnicity"].iloc[4] == "Unknown"
    assert official.counts["patients_with_conflicting_race"] == 1
    assert official.counts["patients_without_race"] == 24
    assert len(official.table) == 27


def test_workbook_of_demographics_is_said_not_to_be_read(make_chexpert):
    release = make_chexpert(ROWS)
    (release / "CHEXPERT DEMO.xlsx").write_bytes(b"PK")
    assert _read(release).counts["demographics_workbook_not_saved_as_csv"] == 1


def _edit(name, old, new):
    return lambda release: (release / name).write_text((release / name).read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda release: (release / "train.csv").unlink(), "has no train.csv or train.csv.gz"),
        (_edit("train.csv", "AP/PA", "Projection"), "train.csv has no column 'AP/PA'"),
        (_edit("train.csv", "Lateral,,", "Oblique,,"), r"Frontal/Lateral holds 'Oblique' \(1 times\)"),
        (_edit("train.csv", "-1.0", "-2.0"), r"holds '-2.0' \(2 times\); known are '1.0'"),
        (_edit("train.csv", "study2/view1", "../../../secret/view1"), "1 of 27 paths are not of the official form"),
        (_edit("valid.csv", "patient94541/", "patient80001/"), "1 of 24 patients have images in more than one split"),
        (_edit("train.csv", "study2", "study1"), "1 image ids stand in rows that differ"),
    ],
)
def test_release_not_as_documented_is_refused_with_its_reason(make_chexpert, damage, message):
    release = make_chexpert(ROWS)
    damage(release)
    with pytest.raises(UserError, match=message):
        _cohort(release, recipe="official")


def test_two_releases_in_one_folder_are_not_chosen_between(make_chexpert):
    make_chexpert(ROWS, folder="CheXpert-v1.0")
    release = make_chexpert(ROWS)
    with pytest.raises(UserError, match="holds CheXpert-v1.0 and CheXpert-v1.0-small. Name one of them"):
        _read(release.parent)


def test_missing_folder_says_what_is_expected(tmp_path):
    with pytest.raises(UserError, match="no folder .*none. Expected a CheXpert release, with train.csv in it"):
        _read(tmp_path / "none")


def test_test_study_named_twice_is_refused(make_chexpert):
    release = make_chexpert(ROWS)
    _add_test_set(release, [*TEST_STUDIES, TEST_STUDIES[0]])
    with pytest.raises(UserError, match="groundtruth.csv names 1 studies twice"):
        _read(release)
