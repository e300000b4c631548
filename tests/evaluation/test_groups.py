import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import EvaluationChoice, UserError
from dpcxr_core.evaluation.groups import (
    age_band,
    age_band_names,
    group_columns,
    strata_of,
    suppress_small,
    too_few,
    unmeasurable,
)

COHORT = pd.DataFrame(
    {
        "sex": ["F", None, np.nan, "M"],
        "age_years": [30, np.nan, 80, 65],
        "view": ["AP", "PA", None, "PA"],
        "insurance": ["state", np.nan, None, "other"],
        "ward": [2.0, 1.0, np.nan, 2.0],
        "nothing": [None] * 4,
    }
)


def _by_name(**choice):
    return {column.name: column for column in group_columns(COHORT, EvaluationChoice(**choice))}


def test_a_band_holds_its_lower_end_and_the_last_is_open():
    ages = [0, 39, 39.99, 40, 69, 70, 120]
    assert age_band(ages).tolist() == ["0-39", "0-39", "0-39", "40-69", "40-69", "70+", "70+"]
    assert age_band([17, 18, 59, 60], edges=(18, 60, 100)).tolist() == [None, "18-59", "18-59", "60+"]


def test_unknown_and_unbelieved_ages_have_no_band():
    assert age_band([np.nan, -1, 121]).tolist() == [None, None, None]


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.integers(0, 120), min_size=3, max_size=6, unique=True).map(sorted),
    st.integers(0, 120),
)
def test_age_band_is_the_one_whose_edges_surround_the_age(edges, age):
    expected = None
    for name, low, high in zip(age_band_names(edges), edges[:-1], edges[1:], strict=True):
        if low <= age < high or age == high == edges[-1]:
            expected = name
    assert age_band([age], edges)[0] == expected


def test_known_columns_leave_what_was_not_recorded_empty():
    columns = _by_name()
    assert list(columns) == ["all", "sex", "age_band", "sex_and_age", "view"]
    assert columns["all"].of_image.tolist() == ["all"] * 4
    assert columns["sex"].of_image.tolist() == ["F", None, None, "M"]
    assert columns["age_band"].of_image.tolist() == ["0-39", None, "70+", "40-69"]
    assert columns["sex_and_age"].of_image.tolist() == ["F, 0-39", None, None, "M, 40-69"]
    assert columns["view"].of_image.tolist() == ["AP", "PA", None, "PA"]


def test_signed_contrasts_are_named_and_crossed_groups_have_none():
    columns = _by_name()
    contrasts = {name: (column.contrast, column.contrast_name) for name, column in columns.items()}
    assert contrasts == {
        "all": (None, ""),
        "sex": (("F", "M"), "F-M"),
        "age_band": (("70+", "0-39"), "70+ - 0-39"),
        "sex_and_age": (None, ""),
        "view": (("AP", "PA"), "AP-PA"),
    }
    assert columns["sex_and_age"].groups == ("F, 0-39", "F, 40-69", "F, 70+", "M, 0-39", "M, 40-69", "M, 70+")


def test_age_bands_and_columns_come_from_the_choice():
    columns = _by_name(age_band_edges=(18, 65, 100), group_columns=("age_band", "sex_and_age"))
    assert list(columns) == ["all", "age_band", "sex_and_age"]
    assert columns["age_band"].of_image.tolist() == ["18-64", None, "65+", "65+"]
    assert columns["age_band"].contrast_name == "65+ - 18-64"
    assert columns["sex_and_age"].of_image[3] == "M, 65+"


def test_any_column_of_the_cohort_parts_the_images_by_its_values_as_text():
    columns = _by_name(group_columns=("ward", "insurance"))
    assert columns["ward"].groups == ("1.0", "2.0")
    assert columns["ward"].of_image.tolist() == ["2.0", "1.0", None, "2.0"]
    assert columns["insurance"].groups == ("other", "state")
    assert columns["insurance"].contrast is None


def test_a_data_set_without_a_column_has_no_groups_of_it():
    assert list(_by_name(group_columns=("race", "nothing", "sex"))) == ["all", "sex"]


def test_too_many_groups_are_refused():
    cohort = pd.DataFrame({"device": [f"d{i}" for i in range(21)]})
    choice = EvaluationChoice(group_columns=("device",))
    assert len(group_columns(cohort[:20], choice)[1].groups) == 20
    with pytest.raises(UserError, match="'device'.*21"):
        group_columns(cohort, choice)


def test_strata_are_sex_and_age_band_known_or_not():
    assert strata_of(COHORT, EvaluationChoice()).tolist() == ["F, 0-39", "None, None", "None, 70+", "M, 40-69"]


def test_groups_below_ten_are_refused_without_their_counts():
    assert too_few(10, 10) == ""
    assert too_few(9, 10) == "fewer than 10 positives"
    assert too_few(10, 0) == "fewer than 10 negatives"
    assert too_few(3, 7) == "fewer than 10 positives and fewer than 10 negatives"


def test_images_of_few_patients_are_not_enough():
    labels, patients = np.repeat([1.0, 0.0, np.nan], 30), np.tile(np.arange(10), 9)
    assert unmeasurable(labels, patients) == ""
    assert unmeasurable(labels, np.where(labels == 1, 0, patients)) == "positives of fewer than 10 patients"
    one = np.zeros_like(patients)
    assert unmeasurable(labels, one) == "positives of fewer than 10 patients and negatives of fewer than 10 patients"
    # a patient that has only images without a label does not count
    assert unmeasurable(np.where(patients == 9, np.nan, labels), patients).count("fewer than 10 patients") == 2
    assert unmeasurable(labels[21:], patients[21:]) == "fewer than 10 positives"
    assert unmeasurable(labels[21:], one[21:]) == "fewer than 10 positives and negatives of fewer than 10 patients"


def test_counts_below_ten_are_not_shown():
    assert [suppress_small(count) for count in (0, 9, 10, 1234)] == [
        "fewer than 10",
        "fewer than 10",
        "10",
        "1234",
    ]
