import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.data.describing import images_per_patient

IDS = pd.Series(["a", "b", "b", "c", "c", "c", "c"])


def test_each_image_knows_how_many_its_patient_has():
    assert list(images_per_patient.image_counts(IDS)) == [1, 2, 2, 4, 4, 4, 4]


def test_patients_and_images_of_each_band():
    table = images_per_patient.patients_by_number(IDS)
    assert table.loc["1"].to_dict() == {"patients": 1, "images": 1}
    assert table.loc["3-4"].to_dict() == {"patients": 1, "images": 4}
    assert table.loc["20 and more"].to_dict() == {"patients": 0, "images": 0}
    assert table["patients"].sum() == 3


def test_bands_hold_their_lower_end():
    numbers = np.array([1, 2, 3, 4, 5, 9, 10, 19, 20, 184])
    expected = ["1", "2", "3-4", "3-4", "5-9", "5-9", "10-19", "10-19", "20 and more", "20 and more"]
    assert list(images_per_patient.number_bands(numbers)) == expected


@settings(derandomize=True, deadline=None)
@given(counts=st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_effective_patients_are_at_most_the_patients_and_as_many_only_if_all_have_alike(counts):
    ids = pd.Series(np.repeat(np.arange(len(counts)), counts))
    effective = images_per_patient.effective_patients(ids)
    assert 1 <= effective <= len(counts) + 1e-9
    assert (effective == pytest.approx(len(counts))) == (len(set(counts)) == 1)


def test_effective_patients_are_the_independent_images_that_vary_as_much():
    counts = np.array([1] * 40 + [10] * 5)
    rng = np.random.default_rng(0)
    means = (rng.choice([-1.0, 1.0], size=(20_000, len(counts))) @ counts) / counts.sum()
    ids = pd.Series(np.repeat(np.arange(len(counts)), counts))
    # the variance of a mean of n independent signs is 1/n; 20,000 draws: relative error 0.01
    assert 1 / means.var() == pytest.approx(images_per_patient.effective_patients(ids), rel=0.05)
    assert np.isnan(images_per_patient.effective_patients(IDS.head(0)))


def test_number_reached_is_never_one_patients_own():
    assert images_per_patient.number_that_patients_reach(IDS, 2) == 2
    assert images_per_patient.number_that_patients_reach(IDS, 3) == 1
    assert images_per_patient.number_that_patients_reach(IDS, 4) == 0
