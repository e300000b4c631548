import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.groups import (
    AGE_BAND,
    GROUP_COLUMNS,
    age_band,
    age_band_names,
    group_values,
    suppress_small,
    too_few,
)


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


@pytest.mark.parametrize("edges", [(0, 120), (0, 70, 40, 120), (0, 40, 40, 120)])
def test_edges_that_do_not_rise_are_refused(edges):
    with pytest.raises(UserError, match="rising"):
        age_band_names(edges)


def test_the_age_contrast_is_oldest_minus_youngest():
    assert AGE_BAND.contrast == ("70+", "0-39")
    assert AGE_BAND.contrast_name == "70+ - 0-39"


def test_group_values_leave_what_was_not_recorded_empty():
    values = group_values(pd.DataFrame({"sex": ["F", None, np.nan], "age_years": [30, np.nan, 80]}))
    assert set(values) == {column.name for column in GROUP_COLUMNS}
    assert values["all"].tolist() == ["all"] * 3
    assert values["sex"].tolist() == ["F", None, None]
    assert values["age_band"].tolist() == ["0-39", None, "70+"]


def test_groups_below_ten_are_refused_without_their_counts():
    assert too_few(10, 10) == ""
    assert too_few(9, 10) == "fewer than 10 positives"
    assert too_few(10, 0) == "fewer than 10 negatives"
    assert too_few(3, 7) == "fewer than 10 positives and fewer than 10 negatives"


def test_counts_below_ten_are_not_shown():
    assert [suppress_small(count) for count in (0, 9, 10, 1234)] == [
        "fewer than 10",
        "fewer than 10",
        "10",
        "1234",
    ]
