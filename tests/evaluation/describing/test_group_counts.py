import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import FINDINGS
from dpcxr_core.evaluation.describing import group_counts


@pytest.fixture
def cohort():
    table = pd.DataFrame(
        {
            "patient_id": ["a", "a", "b", "b", "c", "d"],
            "view": ["PA", "AP", "PA", None, "PA", "PA"],
            "sex": ["F", "F", "M", "M", None, "F"],
            "age_years": [39.9, 40.0, 120.0, np.nan, 0.0, 9.99],
        }
    )
    for finding in FINDINGS:
        table[finding] = [1.0, 0.0, np.nan, np.nan, np.nan, 0.0]
    return table


def _count(table, column, value):
    return tuple(table.set_index(["group_column", "group_value"]).loc[(column, value)])


def test_groups_hold_images_and_patients(cohort):
    table = group_counts.group_counts(cohort)
    assert _count(table, "view", "PA") == (4, 4)
    assert _count(table, "view", "not recorded") == (1, 1)
    assert _count(table, "sex", "F") == (3, 2)
    assert _count(table, "age_band", "0-39") == (3, 3)
    assert _count(table, "age_band", "70+") == (1, 1)
    assert (table.groupby("group_column")["images"].sum() == len(cohort)).all()


def test_missing_counts_are_by_column(cohort):
    table = group_counts.missing_counts(cohort)
    assert _count(table, "sex", "not recorded") == (1, 1)
    assert _count(table, "age", "recorded") == (5, 4)
    assert _count(table, "pneumonia", "not recorded") == (3, 2)
    assert "view" in set(table["group_column"])


def test_ages_fall_into_steps_that_hold_their_lower_end(cohort):
    table = group_counts.ages_by_sex(cohort).set_index(["sex", "age_from"])
    assert tuple(table.loc[("F", 30)]) == (1, 1)
    assert tuple(table.loc[("F", 40)]) == (1, 1)
    assert tuple(table.loc[("F", 0)]) == (1, 1)
    assert tuple(table.loc[("M", 120)]) == (1, 1)
    assert tuple(table.loc[("not recorded", 0)]) == (1, 1)
    assert table["images"].sum() == 5


def test_cohort_without_any_age_has_no_rows(cohort):
    assert group_counts.ages_by_sex(cohort.assign(age_years=np.nan)).empty


@settings(derandomize=True, deadline=None)
@given(ages=st.lists(st.floats(0, 120), min_size=1, max_size=40), width=st.integers(1, 30))
def test_every_recorded_age_is_in_one_step(ages, width):
    cohort = pd.DataFrame({"patient_id": range(len(ages)), "view": "PA", "sex": "F", "age_years": ages})
    table = group_counts.ages_by_sex(cohort, width)
    assert table["images"].sum() == len(ages)
    for start, images in zip(table["age_from"], table["images"], strict=True):
        assert images == sum(start <= age < start + width for age in ages)
