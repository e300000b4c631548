import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.sources.own_values import ages_of, codes_of, decoded, patients_of

AGE = {"unit": "years", "values": {}, "date_format": "%Y-%m-%d"}
NOBODY = {finding: [] for finding in FINDINGS}


def _raw(**columns):
    return pd.DataFrame(columns, dtype=object)


def _ages(mistakes, *, raw, **age):
    years, n_missing = ages_of(raw, {**AGE, **age}, mistakes)
    return [None if year != year else round(year, 2) for year in years], n_missing


def test_decoding_is_closed_and_names_what_it_does_not_have_with_counts():
    mistakes = []
    values = pd.Series(["w", "m", "d", "", None, "x", "x"], dtype=object)
    coded = decoded(values, {"w": "F", "m": "M", "d": "missing"}, "sex", mistakes)
    assert coded.tolist() == ["F", "M", None, None, None, None, None]
    assert mistakes == ["sex does not map 'x' (2 times); it maps 'w', 'm', 'd'. Add them there, or under missing."]


def test_many_values_are_named_up_to_a_limit():
    mistakes = []
    decoded(pd.Series([str(n) for n in range(20)], dtype=object), {}, "view", mistakes)
    assert "and 12 more; it maps nothing" in mistakes[0]


def test_blank_can_mean_something_but_no_entry_never_does():
    coded = decoded(pd.Series(["", None], dtype=object), {"": "not mentioned"}, "labels", [])
    assert coded.tolist() == ["not mentioned", None]


@pytest.mark.parametrize(
    ("text", "age", "years"),
    [
        ("58", {}, 58),
        ("058Y", {}, 58),
        ("018m", {}, 1.5),
        ("18", {"unit": "months"}, 1.5),
        ("2Y", {"unit": "months"}, 2),
        ("1-5", {"values": {"1-5": "3"}}, 3),
        ("30", {"unit": "months", "values": {"30": "12"}}, 1),
        ("1-5", {"values": {"1-5": "missing"}}, None),
        ("0", {}, 0),
        ("121", {}, None),
        ("", {}, None),
    ],
)
def test_age_is_read_as_the_manifest_says_and_never_clipped(text, age, years):
    mistakes = []
    assert _ages(mistakes, raw=_raw(age=[text]), **age) == ([years], int(years is None and text != ""))
    assert mistakes == []


@pytest.mark.parametrize("text", ["1-5", "-1", "58,5", "nan", "fifty"])
def test_age_that_is_no_number_is_never_guessed(text):
    mistakes = []
    assert _ages(mistakes, raw=_raw(age=[text, text])) == ([None, None], 2)
    (mistake,) = mistakes
    assert f"{text!r} (2 times) is neither a number nor like 058Y" in mistake


def test_dates_give_the_age_where_there_is_none():
    mistakes = []
    raw = _raw(
        age=["", "40", "", "", ""],
        birth_date=["1950-01-01", "1950-01-01", "", "2030-01-01", "00"],
        study_date=["2000-01-01", "2000-01-01", "2000-01-01", "2000-01-01", "2000-01-01"],
    )
    ages, n_missing = _ages(mistakes, raw=raw, values={"00": "missing"})
    assert ages == [50.0, 40.0, None, None, None]
    assert n_missing == 2  # born after the study; a date said to be missing
    assert mistakes == []


@pytest.mark.parametrize("text", ["unknown", "999Y", "-"])
def test_age_that_says_nothing_leaves_the_dates_to_say_it(text):
    mistakes, dates = [], ["2000-01-01", "2000-01-01"]
    raw = _raw(age=[text, text], birth_date=["1950-01-01", ""], study_date=dates)
    ages, n_missing = _ages(mistakes, raw=raw, values={"unknown": "missing", "-": "missing"})
    assert (ages, n_missing, mistakes) == ([50.0, None], 1, [])


def test_dates_of_another_form_are_named_with_counts():
    mistakes = []
    raw = _raw(birth_date=["31.12.1950", "31.12.1950"], study_date=["2000-01-01", "2000-02-30"])
    assert _ages(mistakes, raw=raw)[0] == [None, None]
    assert "birth_date: '31.12.1950' (2 times) is no date by age.date_format '%Y-%m-%d'" in mistakes[0]
    assert "study_date: '2000-02-30' (1 times)" in mistakes[1]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.one_of(st.integers(-50, 500).map(str), st.text("0123456789YMWD.-", max_size=5)), min_size=1))
def test_ages_are_0_to_120_or_missing_for_any_texts(texts):
    ages, _ = ages_of(_raw(age=texts), AGE, [])
    assert (ages.isna() | ages.between(0, 120)).all()


TERMS = {
    "kind": "terms",
    "separator": ",",
    "recorded": {**NOBODY, "pneumonia": ["Pneumonia"], "no_finding": ["normal"]},
    "uncertain": {**NOBODY, "pneumonia": ["V. a. Pneumonia"]},
    "absent": "not mentioned",
    "not_used": ["fracture"],
}


def _codes(texts, finding="pneumonia", **changes):
    mistakes = []
    codes, counts = codes_of(_raw(raw_labels=texts), {**TERMS, **changes}, mistakes)
    return codes[f"code_{finding}"].tolist(), counts, mistakes


def test_terms_count_as_a_whole_and_certain_beats_suspected():
    texts = ["Pneumonia, fracture", "V. a. Pneumonia", "V. a. Pneumonia,Pneumonia", "normal", "", None]
    codes, counts, mistakes = _codes(texts)
    assert codes == ["positive", "uncertain", "positive", "not mentioned", None, None]
    assert counts == {
        "rows_without_labels": 2,
        "atelectasis_is_not_recorded": 6,
        "cardiomegaly_is_not_recorded": 6,
        "pleural_effusion_is_not_recorded": 6,
        "no_finding_beside_a_finding": 0,
    }
    assert mistakes == []
    assert _codes(texts, "atelectasis")[0] == [None] * 6


def test_absent_term_is_negative_only_where_the_manifest_says_so():
    assert _codes(["normal"], absent="negative")[0] == ["negative"]


def test_unknown_terms_are_counted_by_image():
    codes, _, mistakes = _codes(["Pneumonias", "Pneumonias,fracture", "normal,x"])
    assert codes == ["not mentioned"] * 3  # no part of a word counts
    assert mistakes == [
        "labels does not map 'Pneumonias' (2 images), 'x' (1 images). Add them to a finding, or to labels.not_used."
    ]
    assert _codes(["Pneumonias"], not_used=["any"])[2] == []


def test_no_finding_beside_a_finding_is_counted():
    assert _codes(["normal,Pneumonia", "normal"])[1]["no_finding_beside_a_finding"] == 1


def test_one_folder_above_a_picture_has_to_be_known():
    folders = {"kind": "folders", "separator": "/"}
    codes, _, mistakes = _codes(["train/Pneumonia/b", "fracture", "train/normal"], **folders)
    assert (codes, mistakes) == (["positive", "not mentioned", "not mentioned"], [])
    assert "labels does not map 'train/other' (2 images)" in _codes(["train/other"] * 2, **folders)[2][0]


def test_columns_are_decoded_one_by_one():
    labels = {
        "kind": "columns",
        "recorded": {**NOBODY, "pneumonia": ["Pneu"], "cardiomegaly": ["Kardio"]},
        "values": {"1": "positive", "0": "negative", "2": "uncertain", "9": "missing"},
        "not_used": [],
    }
    mistakes = []
    raw = _raw(raw_pneumonia=["1", "0", "2", "9", ""], raw_cardiomegaly=["1", "ja", "ja", "0", "0"])
    codes, counts = codes_of(raw, labels, mistakes)
    assert codes["code_pneumonia"].tolist() == ["positive", "negative", "uncertain", None, None]
    assert counts["pneumonia_set_missing"] == 2
    assert counts["no_finding_is_not_recorded"] == 5
    (mistake,) = mistakes
    assert "column 'Kardio', does not map 'ja' (2 times)" in mistake


def _patients(raw, mistakes, **changes):
    mapping = {"patient": "recorded", "columns": {"patient": "PatNr"}, "rows_without_patient": "refuse", **changes}
    return patients_of(raw, mapping, mistakes).tolist()


def test_patients_come_from_a_column_a_file_name_or_nowhere():
    raw = _raw(image=["a", "b"], path=["x/p1_2.png", None], patient=["7", "8"])
    assert _patients(raw, []) == ["7", "8"]
    assert _patients(raw, [], patient="none") == ["a", "b"]
    mistakes = []
    assert _patients(raw, mistakes, patient=r"^(p\d+)_") == ["p1", None]
    assert "1 of 2 rows have no patient in the file name by '^(p\\\\d+)_' (first: b)" in mistakes[0]


def test_rows_without_a_patient_are_refused_unless_the_manifest_leaves_them_out():
    raw, mistakes = _raw(image=list("abcde"), path=[None] * 5, patient=["1", "", "", "", ""]), []
    assert _patients(raw, mistakes) == ["1", None, None, None, None]
    assert "4 of 5 rows have no patient in column 'PatNr' (first: b, c, d)" in mistakes[0]
    mistakes = []
    assert _patients(raw, mistakes, rows_without_patient="leave_out") == ["1", None, None, None, None]
    assert mistakes == []


@pytest.mark.parametrize("rows_without_patient", ["refuse", "leave_out"])
@pytest.mark.parametrize("patient", ["recorded", r"^(p\d+)_"])
def test_rows_that_all_lack_a_patient_are_not_told_to_be_left_out(rows_without_patient, patient):
    mistakes = []
    raw = _raw(image=["a", "b"], path=[None, None], patient=["", ""])
    assert _patients(raw, mistakes, rows_without_patient=rows_without_patient, patient=patient) == [None, None]
    (mistake,) = mistakes
    assert "none of 2 rows has a patient in" in mistake
    assert "'patient: none'" in mistake
    assert "leave_out" not in mistake
