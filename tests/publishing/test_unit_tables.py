import math

import pandas as pd
import pytest

from dpcxr_core.accounting.patients import PatientDesign, epsilon_of_group, epsilon_of_patient
from dpcxr_core.config import PrivacySpecification
from dpcxr_core.publishing import unit_tables

SPECIFICATION = PrivacySpecification(
    sample_rate=0.2, n_steps=3, expected_batch_size=20, max_grad_norm=1.0, noise_multiplier=0.5, delta=1e-3
)
COUNTS = {"images": 40, "patients": 10, "median": 2, "p95": 4, "max": 9}
TABLE = pd.DataFrame(
    {
        "target_epsilon": [1.0] * 4 + [8.0] * 4,
        "images": [1, 2, 4, 9] * 2,
        "tight": [1.0, 2.14, 4.7, 14.0, 8.0, 19.2, 60.0, math.inf],
        "formula": [1.0, 2.2, 5.0, math.inf, 8.0, 72.1, math.inf, math.inf],
    }
)


def test_images_are_counted_by_patient():
    ids = pd.Series(["a"] * 5 + ["b"] * 2 + ["c"] * 2 + ["d"])
    assert unit_tables.images_per_patient(ids) == {"images": 10, "patients": 4, "median": 2, "p95": 5, "max": 5}


def test_published_counts_are_whole_or_openly_unknown():
    found = unit_tables.published_images_per_patient()
    assert found["ChestX-ray14"]["max"] == 184
    for each in found.values():
        assert each["about"]
        assert each["source"]
        if each["patients"] is not None:
            assert 1 <= each["median"] <= each["p95"] <= each["max"]
            assert each["patients"] * each["median"] <= each["images"] <= each["patients"] * each["max"]
    shown = unit_tables.show_images_per_patient(found)
    assert shown.loc["VinDr-CXR", "patients"] == "unknown"
    assert shown.loc["CheXpert", "patients"] == "64,534"


def test_patients_of_interest_are_those_counted_and_none_beyond_them():
    assert unit_tables.patients_of_interest(COUNTS, also=[2, 3, 50]) == [1, 2, 3, 4, 9]
    assert unit_tables.patients_of_interest({"max": None}, also=[2]) == [1]


def test_epsilons_are_those_of_the_accounting_room_and_are_remembered(tmp_path):
    table = unit_tables.epsilon_by_images({1.0: SPECIFICATION}, [1, 20], n_jobs=1, folder=tmp_path)
    values = (0.5, 0.2, 3, 1e-3)
    assert table.loc[0, "tight"] == epsilon_of_patient(*values, 1)
    assert table.loc[0, "formula"] == epsilon_of_group(*values, 1)
    assert table.loc[1, "tight"] == math.inf
    assert len(list(tmp_path.iterdir())) == 2
    again = unit_tables.epsilon_by_images({1.0: SPECIFICATION}, [1, 20], n_jobs=1, folder=tmp_path)
    pd.testing.assert_frame_equal(again, table)


def test_epsilons_are_shown_for_the_patients_counted():
    shown = unit_tables.show_epsilon_of_patients(TABLE, COUNTS)
    assert list(shown.index) == ["2 (median)", "4 (95th percentile)", "9 (most)"]
    assert shown["image epsilon 1"].to_list() == ["2.14 (2.2)", "4.7 (5)", "14 (above 100)"]
    assert shown["image epsilon 8"].iloc[-1] == "above 100 (above 100)"
    same = unit_tables.show_epsilon_of_patients(TABLE, COUNTS | {"median": 4})
    assert list(same.index) == ["4 (median, 95th percentile)", "9 (most)"]


def test_words_are_about_the_strictest_guarantee():
    words = unit_tables.patients_in_words(TABLE, COUNTS)
    assert words.startswith("An epsilon of 1 for images is one of 4.7 for a patient with 4 images")
    assert words.endswith("one of 14 for the one with 9.")
    loose = TABLE[TABLE["target_epsilon"] == 8]
    assert "no promise" in unit_tables.patients_in_words(loose, COUNTS)
    assert "also the most" in unit_tables.patients_in_words(TABLE, COUNTS | {"max": 4})


def test_designs_are_shown_with_their_noise_on_the_mean(tmp_path, monkeypatch):
    def made(**choices):
        values = {"images_per_patient": choices["limits"][0], "sample_rate": 0.1}
        return [
            PatientDesign(sampled="images", noise_multiplier=4.0, divisor=100, **values),
            PatientDesign(sampled="patients", noise_multiplier=1.5, divisor=25, **values),
        ]

    monkeypatch.setattr(unit_tables, "patient_designs", made)
    designs = unit_tables.remembered_designs(limits=(4,), folder=tmp_path)
    assert designs == made(limits=(4,))
    monkeypatch.setattr(unit_tables, "patient_designs", None)
    assert unit_tables.remembered_designs(limits=(4,), folder=tmp_path) == designs
    shown = unit_tables.show_designs(designs)
    assert shown.loc[("patients", "4 in a step"), "noise on the mean gradient, in clip norms"] == "0.0600"
    assert shown["over the least"].to_list() == ["1.00", pytest.approx("1.50")]
