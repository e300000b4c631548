from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.data.store import open_store, rows_of
from dpcxr_core.study.training_rows import training_rows

N_PATIENTS = 20_000


@pytest.fixture(scope="module")
def store(tiny_study):
    """A store whose cohort has many patients, two images each, in the split "train"."""
    patient_ids = [f"p{number}" for number in range(N_PATIENTS)]
    cohort = pd.DataFrame({"patient_id": patient_ids * 2, "split": "train"})
    return replace(open_store(tiny_study.places.store(tiny_study.places.private_dataset)), cohort=cohort)


def _patients(store, fraction):
    return set(store.cohort["patient_id"].iloc[training_rows(store, fraction)])


def test_the_whole_is_the_training_split(tiny_study):
    store = open_store(tiny_study.places.store(tiny_study.places.private_dataset))
    np.testing.assert_array_equal(training_rows(store), rows_of(store, "train"))
    np.testing.assert_array_equal(training_rows(store, 1.0), rows_of(store, "train"))
    assert set(training_rows(store, 0.5)) < set(rows_of(store, "train"))


def test_shares_are_of_patients_with_all_their_images_and_nested(store):
    smaller, larger = _patients(store, 0.25), _patients(store, 0.5)
    assert smaller < larger
    rows = training_rows(store, 0.25)
    assert (np.diff(rows) > 0).all()
    assert len(rows) == 2 * len(smaller)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_size_is_as_of_independent_draws(store, fraction):
    z = (len(_patients(store, fraction)) - fraction * N_PATIENTS) / np.sqrt(N_PATIENTS * fraction * (1 - fraction))
    assert abs(z) < 5


def test_nobody_comes_or_goes_with_somebody_else(store):
    """What a guarantee for the share needs; the first so many patients by any order, or by rank, would fail."""
    some = store.cohort[store.cohort["patient_id"].isin([f"p{number}" for number in range(0, N_PATIENTS, 7)])]
    fewer = replace(store, cohort=some.reset_index(drop=True))
    assert _patients(fewer, 0.25) == _patients(store, 0.25) & set(some["patient_id"])
