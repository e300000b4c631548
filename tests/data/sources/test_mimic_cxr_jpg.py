import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import SplitChoice, cohort_of
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.policies import policy_named
from dpcxr_core.data.sources.mimic_cxr_jpg import read_mimic_cxr_jpg

FACTS = facts_of("mimic_cxr_jpg")
PLAIN = {"dicom": "d1", "subject": "19900001", "study": "59900001", "labels": {"Edema": "-1.0", "Atelectasis": "1.0"}}
IMAGES = [
    PLAIN,
    {**PLAIN, "dicom": "d2", "view": "LATERAL", "code": "lateral"},  # same study, same labels
    {"dicom": "d3", "subject": "19900001", "study": "59900002", "view": "AP", "date": "21510620", "labels": None},
    {"dicom": "d4", "subject": "19900002", "study": "59900003", "view": "", "code": "antero-posterior"},
    {"dicom": "d5", "subject": "19900003", "study": "59900004", "view": "", "code": "", "split": "validate"},
    {"dicom": "d6", "subject": "19900004", "study": "59900005", "view": "AP AXIAL", "split": "test"},
    {"dicom": "d7", "subject": "18800005", "study": "59900006", "split": "test", "labels": {"No Finding": "1.0"}},
    {"dicom": "d8", "subject": "18800006", "study": "59900007", "view": "", "code": "left lateral"},
]
PATIENTS = [
    "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
    "19900001,F,52,2148,2014 - 2016,2151-09-09",
    "19900002,M,91,2150,2011 - 2013,",
    "19900003,M,1,2155,2011 - 2013,",  # the study is before the age of anchor: below 0
    "18800005,F,,2150,2011 - 2013,",
    "17700000,F,20,2150,2011 - 2013,",  # no radiograph
]
ADMISSIONS = [
    "subject_id,hadm_id,admittime,insurance,language,marital_status,race",
    "19900001,1,2151-01-01,Other,ENGLISH,WIDOWED,WHITE - RUSSIAN",
    "19900001,2,2151-02-01,Other,ENGLISH,WIDOWED,WHITE",
    "19900001,3,2151-03-01,Other,ENGLISH,WIDOWED,UNKNOWN",
    "19900002,4,2150-01-01,Other,ENGLISH,,WHITE",
    "19900002,5,2150-01-01,Other,ENGLISH,,ASIAN - CHINESE",
    "19900003,6,2150-01-01,Other,ENGLISH,,UNABLE TO OBTAIN",
]


def _read(source, **facts):
    return read_mimic_cxr_jpg(source, FACTS | facts)


def _cohort(source, policy="u_zero"):
    split = SplitChoice(recipe=FACTS["default_split"])
    return cohort_of(_read(source), FACTS, policy_named(FACTS, policy), split)


def _write(folder, name, lines):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("compressed", [True, False])
def test_table_says_what_the_files_say(make_mimic, compressed):
    source = make_mimic(IMAGES, compressed)
    official = _read(source)
    first = official.table.iloc[0]
    assert (first["image_id"], first["patient_id"], first["study_id"]) == ("d1", "19900001", "59900001")
    assert first["path"] == "files/p19/p19900001/s59900001/d1.jpg"
    assert (source / first["path"]).is_file()
    assert (first["code_edema"], first["code_atelectasis"], first["code_no_finding"]) == ("-1", "1", "blank")
    assert official.table["split"].tolist() == ["train"] * 4 + ["valid", "test", "test", "train"]
    assert official.unlisted == ()
    assert official.counts["rows_in_csv"] == 8


def test_labels_are_those_of_the_study_and_a_study_without_a_row_has_none(make_mimic):
    official = _read(make_mimic(IMAGES))
    codes = official.table.set_index("image_id").filter(like="code_")
    assert codes.loc["d1"].equals(codes.loc["d2"])
    assert codes.loc["d3"].isna().all()
    assert codes.drop("d3").notna().all(axis=None)
    assert official.counts["images_without_labels"] == official.counts["studies_without_labels"] == 1


def test_views_are_filled_from_the_view_code_and_both_are_counted(make_mimic):
    official = _read(make_mimic(IMAGES))
    view = official.table["view"]
    assert view.tolist()[:4] == ["PA", "other", "AP", "AP"]
    assert pd.isna(view.iloc[4])
    assert view.tolist()[5:] == ["other", "PA", "other"]
    assert official.counts["views_filled_from_the_view_code"] == 2
    assert official.counts["views_missing"] == 1


def test_cohort_is_frontal_and_keeps_the_official_split(make_mimic):
    made = _cohort(make_mimic([*IMAGES, {"dicom": "d9", "subject": "19900009", "study": "1", "split": "validate"}]))
    splits = {"d1": "train", "d3": "train", "d4": "train", "d7": "test", "d9": "valid"}
    assert dict(zip(made.cohort["image_id"], made.cohort["split"], strict=True)) == splits
    assert (made.counts["view_not_frontal"], made.counts["view_unknown"]) == (3, 1)
    assert np.isnan(made.cohort.set_index("image_id").loc["d3", "atelectasis"])


def test_as_published_leaves_out_uncertain_oedema(make_mimic):
    assert _cohort(make_mimic(IMAGES), "as_published").counts["left_out_by_policy_as_published"] == 1


@pytest.mark.parametrize("folder", ["mimic-iv/hosp", "core", "."])
def test_demographics_are_joined_at_the_year_of_the_study(make_mimic, folder):
    source = make_mimic(IMAGES)
    _write(source / folder, "patients.csv", PATIENTS)
    _write(source / folder, "admissions.csv", ADMISSIONS)
    official = _read(source)
    people = official.table.set_index("image_id")
    assert people["age_years"].dropna().to_dict() == {"d1": 54, "d2": 54, "d3": 55, "d4": 91}
    assert people["sex"].dropna().to_dict() == {"d1": "F", "d2": "F", "d3": "F", "d4": "M", "d5": "M", "d7": "F"}
    assert people["race"].dropna().to_dict() == {"d1": "WHITE", "d2": "WHITE", "d3": "WHITE"}
    expected = {
        "patients_not_in_mimic_iv_patients": 2,
        "images_of_patients_not_in_mimic_iv_patients": 2,
        "sex_set_missing": 0,
        "ages_set_missing": 1,
        "ages_not_computable": 1,
        "ages_over_89_stored_as_91": 1,
        "patients_not_in_mimic_iv_admissions": 3,
        "patients_with_conflicting_race": 1,
        "patients_without_race": 5,
    }
    assert {name: official.counts[name] for name in expected} == expected


def test_age_of_anchor_is_not_taken_as_it_is(make_mimic):
    """Some readers do: patient 19900001 was 52 in 2148, and 54 and 55 when the images were taken."""
    source = make_mimic(IMAGES)
    _write(source, "patients.csv", PATIENTS)
    assert 52 not in _read(source).table["age_years"].tolist()


def test_race_under_its_first_name_gives_the_same(make_mimic):
    source = make_mimic(IMAGES)
    _write(source, "admissions.csv", ADMISSIONS)
    with_race = _read(source).table["race"]
    _write(source, "admissions.csv", [ADMISSIONS[0].replace("race", "ethnicity"), *ADMISSIONS[1:]])
    pd.testing.assert_series_equal(_read(source).table["race"], with_race)


def test_without_mimic_iv_sex_age_and_race_are_missing_for_all(make_mimic):
    official = _read(make_mimic(IMAGES))
    assert official.table[["sex", "age_years", "race"]].isna().all(axis=None)
    assert official.counts["patients_not_in_mimic_iv_patients"] == 6
    assert official.counts["patients_not_in_mimic_iv_admissions"] == 6


def test_the_other_labeler_is_a_choice_of_the_manifest(make_mimic):
    source = make_mimic(IMAGES, compressed=False)
    path = source / "mimic-cxr-2.0.0-negbio.csv"
    path.write_text(path.read_text().replace("-1.0", "0.0"))
    assert _read(source).table["code_edema"].iloc[0] == "-1"
    assert _read(source, labeler="negbio").table["code_edema"].iloc[0] == "0"


def test_missing_date_gives_no_age(make_mimic):
    source = make_mimic([{**PLAIN, "date": ""}, {**PLAIN, "dicom": "d2", "date": "2150-1-1"}])
    _write(source, "patients.csv", PATIENTS)
    official = _read(source)
    assert official.table["age_years"].isna().all()
    assert official.counts["ages_not_computable"] == 2


def _edit(name, old, new):
    path = f"mimic-cxr-2.0.0-{name}.csv"
    return lambda source: (source / path).write_text((source / path).read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda source: (source / "mimic-cxr-2.0.0-split.csv").unlink(), "has no mimic-cxr-2.0.0-split.csv.gz or"),
        (_edit("metadata", "ViewPosition", "View"), "metadata.csv has no column 'ViewPosition'"),
        (_edit("split", "validate", "val"), r"split holds 'val' \(1 times\); known are 'train', 'validate', 'test'"),
        (_edit("chexpert", "-1.0", "u"), r"code_edema holds 'u' \(1 times\)"),
        (_edit("split", "d4,59900003,19900002,train", "d3,59900002,19900001,test"), "1 rows that differ .* same image"),
        (_edit("chexpert", "19900002,59900003", "19900001,59900001"), "1 rows that differ .* same patient and study"),
        (_edit("split", "19900001,train\nd4", "19900001,test\nd4"), "patients have images in more than one split"),
        (_edit("metadata", "d3,", "d1,"), "1 image ids stand in rows that differ"),
        (lambda source: _write(source, "patients.csv", [*PATIENTS, "19900001,M,52,2148,,"]), "names 1 patients twice"),
    ],
)
def test_files_not_as_documented_are_refused_with_their_reason(make_mimic, damage, message):
    source = make_mimic(IMAGES, compressed=False)
    damage(source)
    with pytest.raises(UserError, match=message):
        _cohort(source)
