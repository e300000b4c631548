from dataclasses import replace

import pytest

from dpcxr_core.accounting import paper
from dpcxr_core.accounting.paper import DATASETS, noise_needed, paper_settings, spent_by_epoch
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.config import UserError


def test_training_sets_are_those_of_the_paper_and_unknown_patients_stay_unknown():
    assert {each.name: each.n_images for each in DATASETS} == {
        "VinDr-CXR": 15_000,
        "ChestX-ray14": 86_524,
        "PadChest": 88_480,
        "CheXpert": 128_356,
        "UKA-CXR": 153_537,
    }
    assert {each.name: each.n_patients for each in DATASETS if each.n_patients} == {"ChestX-ray14": 28_008}
    assert all(each.images_from and each.patients_from for each in DATASETS)


def test_settings_are_a_grid_without_the_unknown_and_count_whole_batches():
    settings = paper_settings([0.9, 2.9], [128, 1024], 150, 6e-6)
    assert len(settings) == (5 + 1) * 2 * 2
    (one,) = [
        s for s in settings if s.dataset == "VinDr-CXR" and s.target_epsilon == 0.9 and s.expected_batch_size == 128
    ]
    assert (one.n_steps, one.sample_rate) == (150 * 117, 128 / 15_000)
    patients = [s for s in settings if s.privacy_unit == "patient"]
    assert {s.n_units for s in patients} == {28_008}


@pytest.fixture(scope="module")
def small():
    setting = paper_settings([2.9], [1024], 20, 6e-6)[0]
    return replace(setting, n_units=10_000)


def test_row_holds_the_noise_by_each_way_in_order(small):
    row = noise_needed(small)
    assert row["noise_multiplier"] < row["noise_multiplier_rdp"] < row["noise_multiplier_opacus"]
    assert row["epsilon_prv_low"] < row["epsilon_pld"] <= 2.9 < row["epsilon_rdp"]
    assert row["epsilon_pld"] == epsilon_pld(row["noise_multiplier"], 0.1024, 20 * 9, 6e-6)
    patients = noise_needed(replace(small, privacy_unit="patient"))
    assert patients == row | {"privacy_unit": "patient"}


def test_spending_rises_by_the_epoch_to_the_target(small):
    rows = spent_by_epoch(small, [1, 5, 20])
    assert [(row["calibrated_by"], row["epoch"]) for row in rows] == [
        (by, epoch) for by in ("PLD", "RDP") for epoch in (1, 5, 20)
    ]
    by_pld, by_rdp = rows[:3], rows[3:]
    for of_one in (by_pld, by_rdp):
        spent = [row["epsilon_pld"] for row in of_one]
        assert spent == sorted(spent)
    assert 2.85 < by_pld[-1]["epsilon_pld"] <= 2.9 < by_pld[-1]["epsilon_rdp"]
    assert 2.89 < by_rdp[-1]["epsilon_rdp"] <= 2.9
    assert by_pld[0]["epsilon_pld"] == epsilon_pld(by_pld[0]["noise_multiplier"], 0.1024, 9, 6e-6)


@pytest.mark.parametrize("epoch", [0, 21])
def test_epoch_outside_the_training_is_refused_before_any_search(epoch, small, monkeypatch):
    monkeypatch.setattr(paper, "calibrate_noise_multiplier", None)
    with pytest.raises(UserError, match="from 1 to 20"):
        spent_by_epoch(small, [epoch])
