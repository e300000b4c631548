import math
from dataclasses import replace

import pandas as pd
import pytest

from dpcxr_core.accounting.patients import PatientDesign, epsilon_of_group, epsilon_of_patient, images_within
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.publishing.chapters import unit_tables

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


def test_numbers_of_patients_who_need_protection_are_exceeded_by_ten_of_them():
    """30 patients with one image, 12 with two, 9 with 40 and one with 777: the last ten have more than 39."""
    sizes = [1] * 30 + [2] * 12 + [40] * 9 + [777]
    ids = pd.Series([f"patient {number}" for number, size in enumerate(sizes) for _ in range(size)])
    open_counts = unit_tables.images_per_patient(ids)
    assert (open_counts["p95"], open_counts["max"]) == (40, 777)
    found = unit_tables.images_per_patient(ids, declared={"images": 1000}, needs_protection=True)
    assert (found["images"], found["patients"]) == (1000, 52)
    assert (found["median"], found["p95"], found["max"], found["exceeded"]) == (1, None, None, 39)
    shown = unit_tables.show_images_per_patient({"here": found, "there": open_counts})
    assert shown.loc["here"].to_list()[:5] == ["1,000", "52", "1", "withheld", "above 39"]
    assert unit_tables.patients_of_interest(found, also=[4, 700]) == [1, 4, 39]
    others = pd.concat([ids, pd.Series(["patient 51"] * 1000)])  # one patient's number moves nothing that is shown
    assert unit_tables.images_per_patient(others, declared={"images": 1000}, needs_protection=True) == found
    few = unit_tables.images_per_patient(ids[ids == "patient 51"], needs_protection=True)
    assert [few[name] for name in ("median", "p95", "max", "exceeded")] == [None] * 4


def test_declared_number_is_that_of_the_specification():
    assert unit_tables.declared_numbers(SPECIFICATION) == {"images": 100}
    of_patients = replace(SPECIFICATION, privacy_unit="patient", max_images_per_patient=4)
    assert unit_tables.declared_numbers(of_patients, {"images": 250}) == {"images": 250, "patients": 100}


def test_published_counts_are_whole_or_openly_unknown():
    found = unit_tables.published_images_per_patient()
    assert found["ChestX-ray14"]["max"] == 184
    for each in found.values():
        assert each["about"]
        assert each["source"]
        known = [1, *(each[name] for name in ("median", "p95", "max") if each[name] is not None)]
        assert known == sorted(known)
        histogram = each["patients_by_images"]
        if histogram is not None:
            everyone = pd.Series(histogram).sort_index().cumsum() / sum(histogram.values())
            assert (sum(histogram.values()), images_within(histogram, 10**6)) == (each["patients"], each["images"])
            assert [int((everyone < share).sum()) for share in (0.5, 0.95)] == [
                sorted(histogram).index(each[name]) for name in ("median", "p95")
            ]
            assert max(histogram) == each["max"]
    # of sets that may not be passed on, no cell of a few patients is kept here, and so no histogram
    assert [name for name, each in found.items() if each["patients_by_images"]] == ["ChestX-ray14"]
    assert found["CheXpert"]["max"] is None
    shown = unit_tables.show_images_per_patient(found)
    assert shown.loc["VinDr-CXR", "patients"] == "unknown"
    assert (shown.loc["CheXpert", "most images"], shown.loc["UKA-CXR", "most images"]) == ("withheld", "unknown")
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


def test_guarantees_for_patients_are_not_taken_for_guarantees_for_images(tmp_path):
    of_patients = replace(SPECIFICATION, privacy_unit="patient", max_images_per_patient=4)
    with pytest.raises(UserError, match="target epsilon 1 protects a patient whole"):
        unit_tables.epsilon_by_images({1.0: of_patients}, [1, 2], n_jobs=1, folder=tmp_path)
    found = unit_tables.specifications_of_images({1.0: of_patients, 2.0: SPECIFICATION}, 160, folder=tmp_path)
    assert found[2.0] is SPECIFICATION
    anew = found[1.0]
    assert (anew.privacy_unit, anew.max_images_per_patient, anew.sample_rate) == ("image", None, 20 / 160)
    assert 0.98 < epsilon_pld(anew.noise_multiplier, 20 / 160, 3, 1e-3) <= 1.0
    kept = {"n_steps": 3, "expected_batch_size": 20, "max_grad_norm": 1.0, "delta": 1e-3, "clipping": "flat"}
    assert {name: getattr(anew, name) for name in kept} == kept


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
    protected = COUNTS | {"p95": None, "max": None, "exceeded": 4}
    words = unit_tables.patients_in_words(TABLE, protected)
    assert words == (
        "An epsilon of 1 for images is one of 4.7 for a patient with 4 images; at least 10 patients have more."
    )
    assert "4 (at least 10 patients have more)" in unit_tables.show_epsilon_of_patients(TABLE, protected).index
    assert "withheld" in unit_tables.patients_in_words(TABLE, protected | {"exceeded": None})


def test_designs_are_shown_with_their_noise_on_the_mean():
    values = {"images_per_patient": 4, "images_used": 1200, "sample_rate": 0.1}
    of_images = PatientDesign(sampled="images", noise_multiplier=4.0, divisor=100, **values)
    of_patients = PatientDesign(sampled="patients", noise_multiplier=1.5, divisor=25, **values)
    shown = unit_tables.show_designs([of_images, of_patients])
    assert shown.loc[("patients", "4 in a step"), "noise on the mean gradient, in clip norms"] == "0.0600"
    assert shown["images in use"].to_list() == ["1,200"] * 2
    assert shown["over the least"].to_list() == ["1.00", pytest.approx("1.50")]
