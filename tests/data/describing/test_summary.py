import pandas as pd
import pytest

from dpcxr_core.data.describing import summary
from dpcxr_core.data.store import ImageStore


@pytest.fixture
def cohort():
    return pd.DataFrame({"patient_id": [f"p{row // 2}" for row in range(40)], "split": ["train"] * 20 + ["test"] * 20})


def test_split_table_counts_images_and_patients(cohort, tmp_path):
    row = summary.split_table({"toy": ImageStore(tmp_path, None, cohort, {"patient_ids": "recorded"})}).loc["toy"]
    assert row[("train", "images")] == 20
    assert row[("train", "patients")] == 10
    assert row[("valid", "images")] == 0


def test_split_table_counts_no_patients_where_none_are_known(cohort, tmp_path):
    bare = ImageStore(tmp_path, None, cohort, {"patient_ids": "none"})
    row = summary.split_table({"bare": bare}).loc["bare"]
    assert row.xs("patients", level=1).isna().all()
    assert row[("test", "images")] == 20


def test_split_table_counts_admissions_where_they_stand_for_patients(cohort, tmp_path):
    ward = ImageStore(tmp_path, None, cohort, {"patient_ids": "admissions"})
    assert summary.split_table({"ward": ward}).loc["ward", ("test", "patients")] == 10


def test_reading_table_says_what_was_refused(cohort, tmp_path):
    description = {"n_listed": 45, "n_images": 40, "n_refused": 5, "choices": {}}
    table = summary.reading_table({"toy": ImageStore(tmp_path, None, cohort, description)})
    assert table.loc["toy"].to_dict() == {"listed": 45, "in the store": 40, "refused": 5}
