import shutil
import textwrap

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dpcxr_core.config import EvaluationChoice, UserError
from dpcxr_core.data.cohort import SplitChoice, cohort_of
from dpcxr_core.data.manifests import MANIFESTS
from dpcxr_core.data.policies import policy_named
from dpcxr_core.data.sources.own_hospital import answer_to_mistake, read_own
from dpcxr_core.data.sources.own_manifest import facts_of_text, own_facts
from dpcxr_core.data.splits import check_patient_disjoint
from dpcxr_core.evaluation.groups import group_columns
from dpcxr_core.publishing.pages.execute import execute_chapter
from tests.conftest import PROJECT
from tests.data.conftest import prevalence_by_policy
from tests.data.sources.test_own_dicom import write_dicom

MANIFEST = """
name: klinik
table: {file: liste.csv, separator: ";", encoding: cp1252}
pictures: [bilder]
columns: {image: Bild, patient: PatNr, study: Studie, sex: Geschlecht, view: Projektion,
          birth_date: Geboren, study_date: Datum}
keep: {insurance: Kostenträger}
sex: {F: [w], M: [m], missing: [d]}
view: {PA: [p.a.], AP: [a.p.], other: [seitlich]}
age: {date_format: "%d.%m.%Y"}
labels:
  column: Befund
  separator: ","
  terms: {pneumonia: [Pneumonie], no_finding: [o.B.]}
  uncertain_terms: {pneumonia: [V.a. Pneumonie]}
  not_used: [Fraktur]
"""
HEADER = "Bild;PatNr;Studie;Geschlecht;Geboren;Datum;Projektion;Kostenträger;Befund"
ROWS = [
    "1.png;7;S1;w;01.02.1950;01.02.2010;p.a.;AOK;Pneumonie, Fraktur",
    "2.png;7;S1;w;01.02.1950;01.02.2010;seitlich;AOK;Pneumonie",
    "3.png;8;S2;m;01.02.2000;01.02.2010;a.p.;TK;V.a. Pneumonie",
    "4.png;9;S3;d;;01.02.2010;;privat;o.B.",
    "5.png;10;S4;;01.02.1850;01.02.2010;a.p.;;",
]


def _picture(path, size=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((size, size), np.uint8)).save(path)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "export"
    for row in ROWS:
        _picture(folder / "bilder" / row.split(";")[0])
    _write(folder, ROWS)
    return folder


def _write(folder, rows, header=HEADER):
    (folder / "liste.csv").write_text("\n".join([header, *rows]) + "\n", encoding="cp1252")


def _read(source, text=MANIFEST):
    return read_own(source, facts_of_text(textwrap.dedent(text), source.parent / "my.yml"))


def _with(row, field, value):
    fields = ROWS[row].split(";")
    fields[field] = value
    return [*ROWS[:row], ";".join(fields), *ROWS[row + 1 :]]


def test_table_comes_back_in_our_words(source):
    official = _read(source)
    table = official.table
    assert table["image_id"].tolist() == ["1.png", "2.png", "3.png", "4.png", "5.png"]
    assert table["patient_id"].tolist() == ["7", "7", "8", "9", "10"]
    assert table["sex"].tolist() == ["F", "F", "M", None, None]
    assert table["view"].tolist() == ["PA", "other", "AP", None, "AP"]
    assert table["age_years"].round(1).tolist()[:3] == [60, 60, 10]
    assert table["age_years"].isna().tolist() == [False, False, False, True, True]
    assert table["path"].iloc[0] == "bilder/1.png"
    assert table["study_id"].tolist() == ["S1", "S1", "S2", "S3", "S4"]
    assert table["insurance"].tolist() == ["AOK", "AOK", "TK", "privat", None]
    assert table["raw_labels"].iloc[0] == "Pneumonie, Fraktur"
    assert table["code_pneumonia"].tolist() == ["positive", "positive", "uncertain", "not mentioned", None]
    assert table["code_cardiomegaly"].isna().all()
    assert "birth_date" not in table  # a date of birth is nobody's need once there is an age
    expected = {"rows_in_table": 5, "sex_set_missing": 1, "ages_set_missing": 1, "rows_without_labels": 1}
    assert {name: official.counts[name] for name in expected} == expected
    assert official.counts["cardiomegaly_is_not_recorded"] == 5
    assert official.unlisted == ()


def test_cohort_of_the_table_holds_and_prevalence_follows_the_policy(source):
    facts = facts_of_text(MANIFEST, source / "my.yml")
    official = read_own(source, facts)
    cohort = cohort_of(official, facts, policy_named(facts, None), SplitChoice(recipe="patients")).cohort
    assert sorted(cohort["image_id"]) == ["1.png", "3.png", "5.png"]  # no side view, no unknown view
    prevalence = prevalence_by_policy(facts, official.table)["pneumonia"]
    assert prevalence.to_dict() == {"as_published": 0.5, "u_zero": 0.5, "u_one": 0.75, "u_ignore": 1.0}


def test_blank_of_a_kept_column_is_no_group_and_no_study(source):
    _write(source, _with(4, STUDY, ""))
    facts = facts_of_text(MANIFEST, source / "my.yml")
    official = read_own(source, facts)
    assert official.table["study_id"].tolist() == ["S1", "S1", "S2", "S3", None]
    cohort = cohort_of(official, facts, policy_named(facts, None), SplitChoice(recipe="patients")).cohort
    *_, insurance = group_columns(cohort, EvaluationChoice(group_columns=("insurance",)))
    assert insurance.groups == ("AOK", "TK")


STUDY, BIRTH, VIEW, LABELS = 2, 4, 6, 8


@pytest.mark.parametrize(
    ("rows", "manifest", "message"),
    [
        (_with(0, 3, "f"), MANIFEST, r"sex does not map 'f' \(1 times\); it maps 'w', 'm', 'd'"),
        (_with(0, VIEW, "PA"), MANIFEST, r"view does not map 'PA' \(1 times\)"),
        (_with(0, LABELS, "Pneumonia"), MANIFEST, r"labels does not map 'Pneumonia' \(1 images\)"),
        (_with(0, BIRTH, "1950-02-01"), MANIFEST, r"birth_date: '1950-02-01' \(1 times\) is no date"),
        (_with(1, 1, ""), MANIFEST, r"1 of 5 rows have no patient in column 'PatNr' \(first: 2.png\)"),
        (_with(1, 0, "1.png"), MANIFEST, r"1 image ids stand in rows that differ \(first: 1.png\)"),
        (_with(1, 0, "bilder/1.png"), MANIFEST, r"1 pictures are named by rows with different ids \(first: bilder/1"),
        (ROWS, MANIFEST.replace("Geschlecht", "Gender"), "no column 'Gender'; its header is \\['Bild', 'PatNr'"),
        (ROWS, MANIFEST.replace("[bilder]", "[bilde]"), "no picture in .*, looked in bilde for files that end in .png"),
        (ROWS, MANIFEST.replace("Bild,", "Studie,"), "5 of 5 pictures were not found \\(first: S1, S1, S2\\). Looked "),
    ],
    ids=["sex", "view", "label", "date", "patient", "ids", "pictures_twice", "column", "folder", "pictures"],
)
def test_mistake_is_answered_with_the_values_and_their_counts(source, rows, manifest, message):
    _write(source, rows)
    with pytest.raises(UserError, match=message):
        _read(source, manifest)


def test_all_mistakes_are_told_at_once(source):
    _write(source, [row.replace(";w;", ";f;").replace("p.a.", "pa") for row in ROWS])
    with pytest.raises(UserError) as caught:
        _read(source)
    assert str(caught.value).splitlines()[0] == "2 mistakes:"
    assert len(str(caught.value).splitlines()) == 3


def test_few_missing_pictures_are_counted_and_strays_are_named(source):
    (source / "bilder" / "1.png").rename(source / "bilder" / "stray.png")
    _write(source, [*_with(4, 0, "../../secret.png")])
    official = _read(source)
    assert official.table["path"].isna().tolist() == [True, False, False, False, True]
    assert official.counts["pictures_not_found"] == 2
    assert official.counts["names_that_leave_the_source"] == 1
    assert official.unlisted == ("bilder/5.png", "bilder/stray.png")


def test_pictures_behind_links_out_of_the_source_are_not_used(source, tmp_path):
    secret = tmp_path / "secret.png"
    (source / "bilder" / "1.png").rename(secret)
    (source / "bilder" / "1.png").symlink_to(secret)
    official = _read(source)
    assert pd.isna(official.table["path"].iloc[0])
    assert official.counts["links_out_of_source"] == 1


@pytest.mark.parametrize("pictures", ["[bilder]", "[bilder, thumbs]"])
def test_folder_behind_a_link_out_of_the_source_is_told_where_its_pictures_are_missed(source, tmp_path, pictures):
    _picture(source / "thumbs" / "t.png")
    (source / "bilder").rename(tmp_path / "nas")
    (source / "bilder").symlink_to(tmp_path / "nas")
    with pytest.raises(UserError, match=r"(no picture in|5 of 5 pictures).* 1 links lead out of the source.*copy"):
        _read(source, MANIFEST.replace("[bilder]", pictures))


def test_rows_without_a_patient_are_left_out_when_the_manifest_says_so(source):
    _write(source, _with(0, 1, ""))
    text = MANIFEST + "rows_without_patient: leave_out\n"
    facts = facts_of_text(text, source / "my.yml")
    cohort = cohort_of(_read(source, text), facts, policy_named(facts, None), SplitChoice(recipe="patients"))
    assert cohort.counts["no_patient_id"] == 1
    assert "1.png" not in set(cohort.cohort["image_id"])


def test_split_of_the_hospital_is_kept(source):
    _write(source, [row + f";{'abc'[min(n // 2, 2)]}" for n, row in enumerate(ROWS)], HEADER + ";Satz")
    text = MANIFEST.replace("view: Projektion,", "view: Projektion, split: Satz,")
    text += "split: {train: [a], valid: [b], test: [c]}\n"
    assert _read(source, text).table["split"].tolist() == ["train", "train", "valid", "valid", "test"]


DICOM = """
name: archive
rows_from: dicom
table: {file: labels.csv, key: Acc, key_is: AccessionNumber}
labels: {columns: {pneumonia: P}, values: {positive: [1], negative: [0], not_mentioned: ['']}}
"""


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    write_dicom(folder / "A" / "1", PatientID="P1", AccessionNumber="X1", PatientSex="F", PatientAge="058Y")
    write_dicom(folder / "A" / "2", PatientID="P1", AccessionNumber="X1", ViewPosition="LL", PatientSex="O")
    dates = {"PatientBirthDate": "19500101", "StudyDate": "20000101"}
    write_dicom(folder / "B" / "3", PatientID="P2", AccessionNumber="X2", ViewPosition="PA", **dates)
    write_dicom(folder / "B" / "4", PatientID="P3", AccessionNumber="X4", ViewPosition="AP")
    write_dicom(folder / "B" / "report", Modality="SR", pixels=False)
    (folder / "labels.csv").write_text("Acc,P\nX1,1\nX2,\nX3,0\n")
    return folder


def test_dicom_folder_needs_no_table_but_labels(archive):
    official = _read(archive, DICOM)
    table = official.table.set_index("path")
    assert table.index.tolist() == ["A/1", "A/2", "B/3", "B/4"]
    assert table["patient_id"].tolist() == ["P1", "P1", "P2", "P3"]
    assert table["sex"].tolist() == ["F", None, None, None]
    assert table["view"].tolist() == [None, "other", "PA", "AP"]
    assert table["age_years"].round(2).tolist()[:3:2] == [58, 50]
    assert table["code_pneumonia"].tolist() == ["positive", "positive", "not mentioned", None]
    assert official.counts["images_without_a_label_row"] == 1
    assert official.counts["label_rows_without_an_image"] == 1
    assert official.counts["dicom_files_of_modality_SR"] == 1
    assert official.counts["files_that_are_not_dicom"] == 1  # the table itself
    assert official.unlisted == ("B/report",)


@pytest.mark.parametrize("key_is", ["file", "SOPInstanceUID", "StudyInstanceUID"])
def test_labels_are_found_by_file_image_or_study(archive, key_is):
    write_dicom(archive / "C" / "9.dcm", SOPInstanceUID="1.2.9", StudyInstanceUID="1.9", PatientID="P9")
    key = {"file": "C/9", "SOPInstanceUID": "1.2.9", "StudyInstanceUID": "1.9"}[key_is]
    (archive / "labels.csv").write_text(f"Acc,P\n{key},1\nnothing,0\n")
    official = _read(archive, DICOM.replace("AccessionNumber", key_is))
    assert official.table.set_index("path").loc["C/9.dcm", "code_pneumonia"] == "positive"
    assert official.counts["images_without_a_label_row"] == 4


@pytest.mark.parametrize("key_is", ["AccessionNumber", "StudyInstanceUID"])
def test_image_without_a_key_takes_the_label_of_no_row(archive, key_is):
    """An absent tag and a blank cell are both "", and are not the same study."""
    write_dicom(archive / "C" / "9", PatientID="P9", **{key_is: "1.9"})
    (archive / "labels.csv").write_text("Acc,P\n1.9,0\n,1\n,0\n,0\n")
    for name in ("A/1", "A/2", "B/3", "B/4"):
        write_dicom(archive / name, PatientID=name)
    official = _read(archive, DICOM.replace("AccessionNumber", key_is))
    assert official.table.set_index("path")["code_pneumonia"].dropna().to_dict() == {"C/9": "negative"}
    expected = {"images_without_a_label_row": 4, "label_rows_without_an_image": 0, "label_rows_without_a_key": 3}
    assert {name: official.counts[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("Acc,P\n,1\n", "no row of labels.csv fits an image .*: the images have X1, X1, X2; column 'Acc' has none"),
        ("Acc,P\nX1,1\nX1,0\n", r"labels.csv has rows that differ for 1 of its keys \(first: X1\)"),
        ("Acc,P\nY1,1\n", "no row of labels.csv fits an image by AccessionNumber: the images have X1, X1, X2"),
        ("Acc,P\nX1,ja\n", r"column 'P', does not map 'ja' \(2 times\); it maps '1', '0', ''"),
    ],
)
def test_label_table_that_does_not_fit_is_refused(archive, labels, message):
    (archive / "labels.csv").write_text(labels)
    with pytest.raises(UserError, match=message):
        _read(archive, DICOM)


def test_copies_of_a_dicom_file_are_named_by_their_paths(archive):
    for name in ("A/1", "B/3"):
        shutil.copy(archive / name, archive / f"{name} copy")
    with pytest.raises(UserError, match=r"^2 image ids .* in A/1 and A/1 copy\). Delete all but one copy"):
        _read(archive, DICOM)


def test_archive_without_patients_is_read_as_its_error_says(archive):
    for name in ("A/1", "A/2", "B/3", "B/4"):
        write_dicom(archive / name, PatientID="", AccessionNumber="X1")
    with pytest.raises(UserError, match="none of 4 rows has a patient in column 'PatientID'.*'patient: none' if it"):
        _read(archive, DICOM)
    assert _read(archive, DICOM + "patient: none").counts["patients_are_not_recorded"] == 4


def test_dicom_files_behind_a_link_out_of_the_source_are_told_of(archive, tmp_path):
    for name in ("A", "B"):
        (archive / name).rename(tmp_path / name)
        (archive / name).symlink_to(tmp_path / name)
    with pytest.raises(UserError, match="none of 1 files .*labels.csv.* is a DICOM radiograph.* 2 links lead out"):
        _read(archive, DICOM)


def test_folder_without_any_radiograph_says_what_was_there(tmp_path):
    write_dicom(tmp_path / "x" / "ct", Modality="CT")
    folders = "name: a\nrows_from: dicom\nlabels: {folders: {pneumonia: [x]}}"
    with pytest.raises(UserError, match="none of 1 files .*ct.* is a DICOM radiograph; left out: .*CT"):
        _read(tmp_path / "x", folders)


FOLDERS = r"""
name: folders
rows_from: files
patient: '^(person\d+)_'
labels: {folders: {pneumonia: [PNEUMONIA], no_finding: [NORMAL]}, not_mentioned: negative}
"""


@pytest.fixture
def folders(tmp_path):
    for name in ("train/NORMAL/person1_a", "train/PNEUMONIA/bacterial/person2_b", "test/PNEUMONIA/person2_c"):
        _picture(tmp_path / "pictures" / f"{name}.png")
    return tmp_path / "pictures"


def test_folder_names_are_labels_where_there_is_no_table(folders):
    table = _read(folders, FOLDERS).table.set_index("image_id")
    assert table["patient_id"].to_dict() == {
        "test/PNEUMONIA/person2_c.png": "person2",
        "train/NORMAL/person1_a.png": "person1",
        "train/PNEUMONIA/bacterial/person2_b.png": "person2",
    }
    assert table["code_pneumonia"].tolist() == ["positive", "negative", "positive"]
    assert table["code_no_finding"].tolist() == ["negative", "positive", "negative"]
    assert table[["sex", "view", "age_years"]].isna().all(axis=None)


def test_pictures_in_no_known_folder_or_of_no_patient_are_named(folders):
    _picture(folders / "train" / "OTHER" / "scan.png")
    with pytest.raises(UserError, match="2 mistakes") as caught:
        _read(folders, FOLDERS)
    assert "labels does not map 'train/OTHER' (1 images)" in str(caught.value)
    assert "1 of 4 rows have no patient in the file name" in str(caught.value)
    assert "(first: train/OTHER/scan.png)" in str(caught.value)


def test_patient_may_be_a_folder(folders):
    by_folder = FOLDERS.replace(r"'^(person\d+)_'", "'^[^/]+/[^/]+/([^/]+)/'")
    with pytest.raises(UserError, match=r"2 of 3 rows have no patient in the path by '\^\[\^/\]\+"):
        _read(folders, by_folder)
    table = _read(folders, by_folder + "rows_without_patient: leave_out\n").table
    assert table["patient_id"].dropna().to_list() == ["bacterial"]


STUDIES = """
name: studies
table: {file: studies.csv}
columns: {folder: accession, patient: mrn, sex: sex, study: accession}
labels: {column: findings, terms: {pneumonia: [pneumonia], no_finding: [normal]}}
"""


def test_one_row_a_study_is_about_all_pictures_in_its_folder(tmp_path):
    for name in ("A1/pa.png", "A1/second.png", "A2/pa.png", "A9/pa.png"):
        _picture(tmp_path / "out" / name)
    rows = ["accession,mrn,sex,findings", "A1,7,F,pneumonia", "A2,8,M,normal", "A3,8,M,normal"]
    (tmp_path / "studies.csv").write_text("\n".join(rows))
    official = _read(tmp_path, STUDIES)
    assert official.table["path"].dropna().to_list() == ["out/A1/pa.png", "out/A1/second.png", "out/A2/pa.png"]
    assert official.table["image_id"].iloc[-1] == "A3"
    assert official.table["patient_id"].to_list() == ["7", "7", "8", "8"]
    assert official.table["study_id"].to_list() == ["A1", "A1", "A2", "A3"]
    assert official.table["code_pneumonia"].to_list() == ["positive", "positive", "not mentioned", "not mentioned"]
    assert official.counts["rows_in_table"] == 3
    assert official.counts["pictures_not_found"] == 1
    assert official.unlisted == ("out/A9/pa.png",)
    (tmp_path / "studies.csv").write_text("\n".join(rows[:3]))
    assert _read(tmp_path, STUDIES).counts["names_that_leave_the_source"] == 0
    (tmp_path / "studies.csv").write_text("\n".join([*rows, "A1,7,F,normal"]))
    with pytest.raises(UserError, match="2 image ids stand in rows that differ"):
        _read(tmp_path, STUDIES)


@pytest.mark.parametrize("column", ["folder", "image"])
def test_a_row_whose_pictures_are_missing_has_no_folder_to_label_it(column, tmp_path):
    _picture(tmp_path / "A1" / "NORMAL" / "1.png")
    _picture(tmp_path / "A2" / "PNEUMONIA" / "2.png")
    named = {"folder": ["A1", "A2", "A3"], "image": ["1.png", "2.png", "3.png"]}[column]
    (tmp_path / "studies.csv").write_text("\n".join(["name,mrn", *(f"{name},7" for name in named)]))
    manifest = f"""
name: klinik
table: {{file: studies.csv}}
columns: {{{column}: name, patient: mrn}}
labels: {{folders: {{pneumonia: [PNEUMONIA], no_finding: [NORMAL]}}, not_mentioned: negative}}
"""
    table = _read(tmp_path, manifest).table
    assert table["code_pneumonia"].iloc[:2].to_list() == ["negative", "positive"]
    assert table["path"].isna().to_list() == [False, False, True]


def test_unknown_patients_are_said(folders):
    official = _read(folders, FOLDERS.replace(r"'^(person\d+)_'", "none"))
    assert official.table["patient_id"].equals(official.table["image_id"])
    assert official.counts["patients_are_not_recorded"] == 3


def test_dicom_labels_from_folders(archive):
    (archive / "labels.csv").unlink()
    text = "name: archive\nrows_from: dicom\nlabels: {folders: {pneumonia: [A], no_finding: [B]}}"
    table = _read(archive, text).table
    assert table["code_pneumonia"].tolist() == ["positive", "positive", "not mentioned", "not mentioned"]


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="no folder .*away. Expected the export of klinik"):
        _read(tmp_path / "away")


@settings(derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.sampled_from(["w", "m", "d", ""]), st.sampled_from(["p.a.", "a.p.", ""])),
        min_size=1,
        max_size=30,
    )
)
def test_no_patient_is_in_two_splits_for_any_table(tmp_path, rows):
    folder = tmp_path / "any"
    _picture(folder / "bilder" / "1.png")
    _write(folder, [f"1.png;{who};S;{sex};;01.02.2010;{view};AOK;o.B." for who, sex, view in rows])
    text = MANIFEST.replace("image: Bild", "image: Studie") + "keep_unknown_view: true\n"
    lines = [f"1.png;{who};{n};{sex};;01.02.2010;{view};AOK;o.B." for n, (who, sex, view) in enumerate(rows)]
    _write(folder, lines)
    for row in range(len(rows)):
        _picture(folder / "bilder" / f"{row}.png")
    facts = facts_of_text(text, folder / "my.yml")
    cohort = cohort_of(read_own(folder, facts), facts, policy_named(facts, None), SplitChoice(recipe="patients")).cohort
    assert len(cohort) == len(rows)
    check_patient_disjoint(cohort)


def test_answer_to_a_mistake_is_the_error_as_text(source, tmp_path):
    manifest = tmp_path / "my.yml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    answer = answer_to_mistake(manifest, source, right="M: [m]", wrong="M: [M]")
    assert answer.startswith("sex does not map 'm' (1 times)")
    assert manifest.read_text(encoding="utf-8") == MANIFEST
    with pytest.raises(UserError, match="does not say 'Q'"):
        answer_to_mistake(manifest, source, right="Q", wrong="R")
    with pytest.raises(UserError, match="it is no mistake"):
        answer_to_mistake(manifest, source, right="name: klinik", wrong="name: clinic")


@pytest.mark.sample
def test_paediatric_hospital_is_read_whole(sample_data):
    facts = own_facts(MANIFESTS / "paediatric.yaml")
    official = read_own(sample_data / "paediatric_csv", facts)
    table = official.table
    assert len(table) == 960
    assert table["path"].notna().all()
    assert table["patient_id"].nunique() == 770
    assert table["sex"].isna().all()
    assert table["age_years"].isna().all()
    assert official.counts["ages_set_missing"] == 960
    assert (table["view"] == "AP").all()
    assert table["code_pneumonia"].value_counts().to_dict() == {"positive": 640, "negative": 320}
    assert table["code_no_finding"].value_counts().to_dict() == {"negative": 640, "positive": 320}
    assert official.unlisted == ()


@pytest.mark.slow
@pytest.mark.sample
def test_chapter_runs_for_a_manifest_of_ones_own_with_no_other_word_about_it(sample_data, tmp_path):
    parameters = {
        "manifest": str(MANIFESTS / "paediatric.yaml"),
        "source_dir": str(sample_data / "paediatric_csv"),
        "cache_dir": str(tmp_path / "cache"),
        "run_dir": str(tmp_path / "run"),
        "image_size": 32,
    }
    chapter = PROJECT / "book" / "13_own_hospital.py"
    executed = execute_chapter(chapter, tmp_path / "executed", parameters, progress=False).read_text(encoding="utf-8")
    assert "name: paediatric" in executed
