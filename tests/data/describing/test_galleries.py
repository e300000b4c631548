import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.describing import galleries
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


def test_gallery_by_dataset_titles_the_first_image_of_each(store):
    images, titles = galleries.gallery_by_dataset({"a": store, "b": store}, n_each=3, seed=0)
    assert images.shape == (6, 4, 4)
    assert titles == ["a", "", "", "b", "", ""]


def test_gallery_by_finding_shows_positive_images_in_their_column(store):
    images, titles = galleries.gallery_by_finding(store, n_each=2, seed=0)
    assert titles[:5] == [finding.replace("_", " ") for finding in FINDINGS]
    rows = images[:, 0, 0].reshape(2, 5)
    for column, finding in enumerate(FINDINGS):
        assert (store.cohort[finding].to_numpy()[rows[:, column]] == 1).all()


def test_gallery_by_finding_leaves_a_finding_without_positives_dark(store):
    store.cohort["cardiomegaly"] = 0.0
    images, _ = galleries.gallery_by_finding(store, n_each=2, seed=0)
    assert (images.reshape(2, 5, -1)[:, FINDINGS.index("cardiomegaly")] == 0).all()


def _stored(store, recipe):
    return ImageStore(store.path, store.images, store.cohort, {"recipe": {"name": recipe}})


def test_only_pictures_that_may_be_shown_are(store):
    stores = {
        "open": _stored(store, "corrected"),
        "closed": _stored(store, "corrected"),
        "own": _stored(store, "corrected"),
    }
    facts = {"open": {"pictures_may_be_shown": True}, "closed": {"pictures_may_be_shown": False}, "own": None}
    assert list(galleries.stores_to_show(stores, facts, size=32, seed=0)) == ["open"]


def test_drawn_pictures_stand_in_where_none_may_be_shown(store):
    shown = galleries.stores_to_show({"closed": _stored(store, "corrected")}, {"closed": None}, size=32, seed=0)
    ((name, drawn),) = shown.items()
    assert name == "sim-a, simulated"
    assert drawn.images.shape == (240, 32, 32)
    assert not np.array_equal(drawn.images[0], drawn.images[1])
    assert len(drawn.cohort) == 240
    assert (drawn.cohort[list(FINDINGS)].sum() >= 4).all()
