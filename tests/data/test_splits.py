import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import UserError
from dpcxr_core.data.splits import (
    carve_validation,
    check_patient_disjoint,
    part_training_patients,
    split_hash,
    split_patients,
)

TABLES = st.lists(st.integers(0, 30), min_size=1, max_size=120)
FRACTIONS = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(
    lambda parts: {name: part / sum(parts) for name, part in zip(("train", "valid", "test"), parts, strict=False)}
)


def _cohort(patients: list[int], splits: list[str] | None = None) -> pd.DataFrame:
    names = [f"p{patient}" for patient in patients]
    images = [f"i{row}" for row in range(len(patients))]
    return pd.DataFrame(
        {
            "dataset": "d",
            "image_id": images,
            "patient_id": names,
            "split": splits or ["train"] * len(patients),
        }
    )


@settings(derandomize=True, deadline=None)
@given(TABLES, FRACTIONS, st.integers(0, 5))
def test_split_patients_keeps_every_patient_whole_and_the_fractions(patients, fractions, seed):
    ids = _cohort(patients)["patient_id"]
    split = split_patients(ids, fractions, np.random.default_rng(seed))
    check_patient_disjoint(pd.DataFrame({"patient_id": ids, "split": split}))
    assert split.notna().all()
    first_image = split[~ids.duplicated()]
    for name, fraction in fractions.items():
        assert abs((first_image == name).sum() - fraction * ids.nunique()) <= 1


@settings(derandomize=True, deadline=None)
@given(TABLES, st.randoms(use_true_random=False))
def test_split_patients_does_not_depend_on_row_order_or_images_per_patient(patients, random):
    fractions = {"train": 0.5, "test": 0.5}
    once = split_patients(pd.Series(sorted(set(patients))), fractions, np.random.default_rng(7))
    of_patient = dict(zip(sorted(set(patients)), once, strict=True))
    shuffled = random.sample(patients, len(patients))
    again = split_patients(pd.Series(shuffled), fractions, np.random.default_rng(7))
    # ids are compared as text, so 10 sorts before 9 in both calls
    assert again.tolist() == [of_patient[patient] for patient in shuffled]


def test_check_patient_disjoint_refuses_a_split_by_image():
    patients = [row // 4 for row in range(400)]
    by_image = np.random.default_rng(0).permutation(["train"] * 200 + ["test"] * 200).tolist()
    with pytest.raises(UserError, match=r"\d+ of 100 patients have images in more than one split"):
        check_patient_disjoint(_cohort(patients, by_image))


@pytest.mark.parametrize("fractions", [{"train": 0.5, "test": 0.4}, {"train": 1.5, "test": -0.5}, {}])
def test_split_patients_refuses_fractions_that_are_no_shares(fractions):
    with pytest.raises(UserError, match="add up to 1"):
        split_patients(pd.Series(["a"]), fractions, np.random.default_rng(0))


def test_split_patients_refuses_a_missing_patient():
    with pytest.raises(UserError, match="1 images have no patient id"):
        split_patients(pd.Series(["a", None]), {"train": 1.0}, np.random.default_rng(0))


def test_carve_validation_takes_training_patients_only():
    cohort = _cohort([row // 2 for row in range(100)], ["train"] * 80 + ["test"] * 20)
    carved = carve_validation(cohort, 0.25, np.random.default_rng(0))
    assert (carved["split"][80:] == "test").all()
    assert (carved["split"] == "valid").sum() == 20  # 10 of 40 patients, two images each
    check_patient_disjoint(carved)
    with pytest.raises(UserError, match="between 0 and 1; got 1.5"):
        carve_validation(cohort, 1.5, np.random.default_rng(0))


def test_part_training_patients_shares_out_the_training_rows_and_no_patient_twice():
    cohort = _cohort([row // 3 for row in range(90)], ["train"] * 60 + ["valid"] * 30)
    first, second = part_training_patients(cohort, 0.4, np.random.default_rng(1))
    assert sorted([*first, *second]) == list(range(60))
    assert len(first) == 24  # 8 of 20 patients
    assert not set(cohort["patient_id"].iloc[first]) & set(cohort["patient_id"].iloc[second])


def test_split_hash_ignores_row_order_and_sees_every_change():
    cohort = _cohort([0, 0, 1, 2], ["train", "train", "valid", "test"])
    assert split_hash(cohort.iloc[::-1]) == split_hash(cohort)
    moved = cohort.assign(split=["train", "train", "test", "test"])
    assert split_hash(moved) != split_hash(cohort)
    assert split_hash(cohort.assign(patient_id=["p0", "p1", "p1", "p2"])) != split_hash(cohort)
