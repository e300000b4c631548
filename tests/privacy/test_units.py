import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.privacy.units import images_of, units_of

IMAGE = PrivacySpecification(
    sample_rate=0.1, n_steps=1, expected_batch_size=4, max_grad_norm=1.0, noise_multiplier=1.0, delta=1e-5
)


def _per_patient(most: int) -> PrivacySpecification:
    return replace(IMAGE, privacy_unit="patient", max_images_per_patient=most)


def test_every_image_is_its_own_unit_where_the_image_is_the_unit():
    units = units_of(IMAGE, np.array(["a", "a", "b"]))
    assert units.n_units == 3
    images, counts = images_of(units, np.array([0, 2]), IMAGE, np.random.default_rng(0))
    np.testing.assert_array_equal(images, [0, 2])
    np.testing.assert_array_equal(counts, [1, 1])


@settings(derandomize=True, deadline=None)
@given(patients=st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=40))
def test_units_hold_all_images_of_each_patient_and_no_other(patients):
    patients = np.array(patients)
    units = units_of(_per_patient(1), patients)
    assert units.n_units == len(set(patients))
    assert sorted(units.rows.tolist()) == list(range(len(patients)))
    for unit, name in enumerate(sorted(set(patients))):
        own = units.rows[units.starts[unit] : units.starts[unit + 1]]
        np.testing.assert_array_equal(own, np.flatnonzero(patients == name))


@settings(derandomize=True, deadline=None)
@given(
    patients=st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=40),
    most=st.integers(1, 6),
    chance=st.randoms(use_true_random=False),
)
def test_drawn_patients_bring_at_most_so_many_of_their_own_images_and_none_twice(patients, most, chance):
    patients = np.array(patients)
    specification = _per_patient(most)
    units = units_of(specification, patients)
    drawn = np.array(sorted(chance.sample(range(units.n_units), chance.randint(0, units.n_units))), np.int64)
    images, counts = images_of(units, drawn, specification, np.random.default_rng(chance.randint(0, 10**6)))
    assert images.dtype == counts.dtype == np.int64
    assert len(counts) == len(drawn)
    assert counts.sum() == len(images) == len(set(images.tolist()))
    assert (np.diff(counts) >= 0).all()
    names = sorted(set(patients))
    brought = []
    for one in np.split(images, np.cumsum(counts))[:-1]:
        (owner,) = set(patients[one])
        assert len(one) == min(most, (patients == owner).sum())
        brought.append(owner)
    assert sorted(brought) == [names[unit] for unit in drawn]


def test_no_unit_drawn_brings_no_image():
    units = units_of(_per_patient(2), np.array(["a", "a"]))
    for specification in (IMAGE, _per_patient(2)):
        images, counts = images_of(units, np.zeros(0, np.int64), specification, np.random.default_rng(0))
        assert images.shape == counts.shape == (0,)


def _z_of_choice(chosen: list[set[int]]) -> float:
    """Largest z of how often each of five images, and each pair of them, was among the two chosen."""
    n, z = len(chosen), []
    for size, chance in ((1, 2 / 5), (2, 1 / 10)):
        for images in combinations(range(5), size):
            found = sum(set(images) <= one for one in chosen)
            z.append((found - n * chance) / math.sqrt(n * chance * (1 - chance)))
    return np.abs(z).max()


def test_all_images_of_a_patient_are_chosen_alike_which_neighbours_or_first_ones_are_not():
    units = units_of(_per_patient(2), np.array(["b"] * 5 + ["a"]))
    rng = np.random.default_rng(0)
    chosen = [set(images_of(units, np.array([1]), _per_patient(2), rng)[0].tolist()) for _ in range(5000)]
    assert _z_of_choice(chosen) < 5
    assert _z_of_choice([{0, 1}] * 5000) > 5
    starts = rng.integers(0, 5, 5000)
    assert _z_of_choice([{int(start), int(start + 1) % 5} for start in starts]) > 5  # each alike, but not each pair


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, "", "  "])
def test_images_of_nobody_are_refused_for_patients_and_welcome_as_images(missing):
    patients = np.array(["a", missing, "b"], dtype=object)
    with pytest.raises(UserError, match=r"1 of 3 have none, the first is image 1"):
        units_of(_per_patient(1), patients)
    assert units_of(IMAGE, patients).n_units == 3


def test_patients_known_by_numbers_are_patients_too():
    assert units_of(_per_patient(1), np.array([7, 7, 30])).n_units == 2
    with pytest.raises(UserError, match="1 of 2 have none"):
        units_of(_per_patient(1), np.array([7.0, np.nan]))
