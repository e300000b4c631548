import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS
from dpcxr_core.data import summary
from dpcxr_core.data.store import ImageStore


@pytest.fixture
def cohort():
    n = 40
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "dataset": "toy",
            "image_id": [f"i{row}" for row in range(n)],
            "patient_id": [f"p{row // 2}" for row in range(n)],
            "split": np.where(np.arange(n) < 20, "train", "test"),
            "view": ["AP"] * 10 + ["PA"] * 20 + [None] * 10,
            "sex": ["F"] * 15 + ["M"] * 15 + [None] * 10,
            "age_years": [50.0] * 30 + [np.nan] * 10,
            "path": None,
        }
    )
    for finding in FINDINGS:
        table[finding] = (rng.random(n) < 0.5).astype(float)
    table.loc[:9, "pneumonia"] = np.nan
    table.loc[10:, "pneumonia"] = 1.0
    return table


@pytest.fixture
def store(cohort, tmp_path):
    images = np.repeat(np.arange(len(cohort), dtype=np.uint8), 16).reshape(-1, 4, 4)
    return ImageStore(tmp_path, images, cohort, {})


def test_population_takes_shares_among_those_recorded(cohort):
    row = summary.population({"toy": cohort}).loc["toy"]
    assert row["patients"] == 20
    assert row["AP view"] == pytest.approx(1 / 3)
    assert row["female"] == pytest.approx(0.5)
    assert row["sex missing"] == row["age missing"] == pytest.approx(0.25)


def test_population_without_any_recorded_sex_is_undefined_not_zero(cohort):
    row = summary.population({"toy": cohort.assign(sex=None)}).loc["toy"]
    assert np.isnan(row["female"])


def test_prevalence_counts_labelled_images_only(cohort):
    assert summary.prevalence({"toy": cohort}).loc["toy", "pneumonia"] == 1.0


def test_split_table_counts_images_and_patients(cohort):
    row = summary.split_table({"toy": cohort}).loc["toy"]
    assert row[("train", "images")] == 20
    assert row[("train", "patients")] == 10
    assert row[("valid", "images")] == 0


def test_image_split_leaks_patients_with_several_images_and_only_those():
    pairs = pd.DataFrame({"patient_id": np.arange(20_000) // 2})
    # the other image of the pair is in training with chance 0.8; 4,000 test images: standard error 0.006
    assert summary.leak_of_image_split(pairs, seed=0) == pytest.approx(0.8, abs=0.03)
    alone = pairs.assign(patient_id=np.arange(20_000))
    assert summary.leak_of_image_split(alone, seed=0) == 0


def test_gallery_by_dataset_titles_the_first_image_of_each(store):
    images, titles = summary.gallery_by_dataset({"a": store, "b": store}, n_each=3, seed=0)
    assert images.shape == (6, 4, 4)
    assert titles == ["a", "", "", "b", "", ""]


def test_gallery_by_finding_shows_positive_images_in_their_column(store):
    images, titles = summary.gallery_by_finding(store, n_each=2, seed=0)
    assert titles[:5] == [finding.replace("_", " ") for finding in FINDINGS]
    rows = images[:, 0, 0].reshape(2, 5)
    for column, finding in enumerate(FINDINGS):
        assert (store.cohort[finding].to_numpy()[rows[:, column]] == 1).all()


def test_gallery_by_finding_leaves_a_finding_without_positives_dark(store):
    store.cohort["cardiomegaly"] = 0.0
    images, _ = summary.gallery_by_finding(store, n_each=2, seed=0)
    assert (images.reshape(2, 5, -1)[:, FINDINGS.index("cardiomegaly")] == 0).all()
