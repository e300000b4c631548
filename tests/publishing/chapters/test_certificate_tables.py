import json

import pandas as pd
import pytest

from benchmarks.paper_certificates import RESULTS
from dpcxr_core.accounting import remembered
from dpcxr_core.accounting.paper import DATASETS
from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters import certificate_tables
from dpcxr_core.publishing.chapters.certificate_tables import (
    needed_in_words,
    read_needed,
    read_origin,
    read_spending,
    recompute,
    show_accountants,
    show_needed,
    show_training_sets,
    spending_in_words,
)

CHOSEN = ["VinDr-CXR", "image", 1024, 0.9]


@pytest.fixture(scope="module")
def needed():
    return read_needed(RESULTS)


def test_stored_tables_hold_every_training_and_keep_their_promise(needed):
    assert len(needed) == (len(DATASETS) + 1) * 2 * 3
    assert set(needed["target_epsilon"]) == {0.9, 2.9, 9.5}
    assert (needed["epsilon_pld"] <= needed["target_epsilon"]).all()
    assert (needed["epsilon_pld"] >= needed["epsilon_prv_low"]).all()
    assert (needed["epsilon_pld"] <= 1.01 * needed["epsilon_prv"]).all()
    assert (needed["noise_multiplier"] < needed["noise_multiplier_rdp"]).all()
    spending = read_spending(RESULTS)
    assert len(spending) == len(DATASETS) * 2 * 2 * 6
    assert "opacus" in read_origin(RESULTS)["versions"]


def test_first_epoch_of_the_published_configuration_is_that_found_apart():
    """Computed apart by Opacus' RDP at a rate of one over whole batches, ours at batch over images: hence 2 %."""
    spending = read_spending(RESULTS)
    first = spending[
        (spending["epoch"] == 1) & (spending["calibrated_by"] == "RDP") & (spending["expected_batch_size"] == 128)
    ]
    apart = {"VinDr-CXR": 1.83, "ChestX-ray14": 2.99, "PadChest": 3.00, "CheXpert": 3.22, "UKA-CXR": 3.33}
    assert first.set_index("dataset")["epsilon_rdp"].to_dict() == pytest.approx(apart, rel=0.02)


def test_training_sets_name_their_sources_and_what_is_unknown():
    shown = show_training_sets()
    assert shown.loc["ChestX-ray14", "training patients"] == "28,008"
    assert (shown["training patients"] == "not known").sum() == 4
    assert (shown["from, or why not"] != "").all()


def test_noise_of_every_training_stands_by_target_and_unknown_is_a_question_mark(needed):
    shown = show_needed(needed)
    assert len(shown) == (len(DATASETS) + 1) * 2 + 4  # of four the patients are unknown
    assert (shown.loc[("VinDr-CXR", "patient", "any")] == "?").all()
    stored = needed[(needed["dataset"] == "UKA-CXR") & (needed["expected_batch_size"] == 128)].iloc[0]
    assert shown.loc[("UKA-CXR", "image", "128"), "0.9, PLD"] == f"{stored['noise_multiplier']:.3f}"
    assert shown.loc[("UKA-CXR", "image", "128"), "0.9, RDP"] == f"{stored['noise_multiplier_rdp']:.3f}"
    assert shown.loc[("UKA-CXR", "image", "128"), "steps"] == "179,850"


def test_accountants_of_one_data_set_and_a_missing_bracket(needed):
    shown = show_accountants(needed.assign(epsilon_prv=float("nan")), "ChestX-ray14")
    assert len(shown) == 12
    assert set(shown["between, PRV"]) == {"not computed"}
    assert " and " in show_accountants(needed, "ChestX-ray14")["between, PRV"].iloc[0]
    with pytest.raises(UserError, match="'MNIST'"):
        show_accountants(needed, "MNIST")


def test_row_is_computed_once_more_and_a_wrong_one_is_found(needed, tmp_path, monkeypatch):
    monkeypatch.setattr(remembered, "FOLDER", tmp_path)
    shown = recompute(needed, [CHOSEN])
    assert len(shown) == 4
    assert (shown["stored"].astype(float) - shown["now"].astype(float)).abs().max() < 2e-3
    wrong = needed.assign(noise_multiplier=needed["noise_multiplier"] * 1.003)
    with pytest.raises(UserError, match="stored noise_multiplier of VinDr-CXR, image, 1024, 0.9"):
        recompute(wrong, [CHOSEN])
    assert recompute(needed, []).empty


def test_row_that_is_not_stored_is_refused(needed, monkeypatch):
    monkeypatch.setattr(certificate_tables, "noise_needed", None)
    with pytest.raises(UserError, match="0 rows"):
        recompute(needed, [["VinDr-CXR", "patient", 1024, 0.9]])


def test_missing_table_names_the_command(tmp_path):
    with pytest.raises(UserError, match="python -m benchmarks.paper_certificates"):
        read_needed(tmp_path)
    (tmp_path / "paper_certificates.json").write_text(json.dumps({"commit": "x"}))
    assert read_origin(tmp_path) == {"commit": "x"}


def test_surplus_and_cost_of_patients_are_put_in_words():
    row = {"dataset": "A", "expected_batch_size": 8, "target_epsilon": 1.0}
    table = pd.DataFrame(
        [
            row | {"privacy_unit": "image", "n_steps": 30, "noise_multiplier": 1.0, "noise_multiplier_rdp": 1.05},
            row | {"privacy_unit": "patient", "n_steps": 10, "noise_multiplier": 2.0, "noise_multiplier_rdp": 2.2},
        ]
    )
    assert "Over all 2 trainings, RDP asks for 5.0% to 10.0% more" in needed_in_words(table)
    assert "On A, whose patients are known, protecting patients takes 2.00 to 2.00 times" in needed_in_words(table)
    assert "by patients there are 3.0 times fewer steps" in needed_in_words(table)
    assert "patients" not in needed_in_words(table.head(1))


def test_noise_by_rdp_counted_by_pld_spends_least_of_the_four_readings():
    """What the chapter says of its figure of the published configuration."""
    spending = read_spending(RESULTS)
    key = ["dataset", "expected_batch_size", "epoch"]
    least = spending.groupby(key)[["epsilon_pld", "epsilon_rdp"]].min().min(axis=1)
    shown = spending[spending["calibrated_by"] == "RDP"].set_index(key)["epsilon_pld"]
    assert (shown.sort_index() == least.sort_index()).all()


@pytest.mark.parametrize(("spent", "verdict"), [(1.2, "other settings than these"), (0.8, "its first epochs can")])
def test_first_epoch_is_put_in_words(spent, verdict):
    rows = [
        {"dataset": name, "expected_batch_size": 64, "calibrated_by": "RDP", "epoch": epoch, "epsilon_pld": value}
        for name, epoch, value in (("A", 1, 3.0), ("B", 1, spent), ("B", 5, 0.1))
    ]
    words = spending_in_words(pd.DataFrame(rows))
    assert f"at least {spent:.2f} is spent (B, batch 64" in words
    assert verdict in words
