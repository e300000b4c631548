import math

import pandas as pd

from dpcxr_core.evaluation.transfer.conflicts import label_conflicts
from dpcxr_core.publishing.chapters import transfer_tables
from tests.publishing.conftest import FINDING, an_abroad, draws_around, some_drops


def test_drops_lead_with_the_mean_and_its_interval():
    shown = transfer_tables.show_drops(some_drops())
    assert shown.columns.to_list() == ["mean [95% interval]", "between seeds (SD)", "b", "c"]
    assert shown.loc[("random", "epsilon 8")].to_list() == ["+0.080 [+0.060, +0.100]", "one seed", "+0.080", "+0.080"]
    assert shown.index.to_list()[:2] == [("random", "epsilon 8"), ("random", "no privacy")]
    undefined = transfer_tables.show_drops(some_drops().assign(value=math.nan))
    assert set(undefined["b"]) == {"undefined"}
    one = some_drops().query("dataset == 'b'")
    assert transfer_tables.show_drops(one).columns.to_list() == ["b"]
    assert transfer_tables.show_drops(one[:0]).empty


def test_a_verdict_needs_the_corrected_p():
    moved = pd.DataFrame(
        {
            "init_label": ["x", "y", "z"],
            "target_epsilon": [1.0, 8.0, 8.0],
            "value": [0.02, -0.02, 0.01],
            "low": 0.0,
            "high": 0.03,
            "seed_sd": [0.01, 0.01, math.nan],
            "p_adjusted": [0.0001, 0.04, math.nan],
        }
    )
    shown = transfer_tables.show_moved(moved)
    assert shown["verdict"].to_list() == ["loses more", "loses less", "not distinguishable"]
    assert shown["p (Holm)"].to_list() == ["below 0.001", "0.040", "no test"]
    assert shown.index.to_list()[0] == ("x", "epsilon 1")
    without = moved.assign(kind="non_private", target_epsilon=math.nan)
    assert transfer_tables.show_moved(without).index.to_list()[0] == ("x", "no privacy")


def test_local_models_stand_beside_those_from_elsewhere():
    behind = pd.DataFrame(
        {"train_dataset": ["a"], "dataset": ["b"], "value": [0.05], "low": [0.01], "high": [0.09], "p_adjusted": [0.01]}
    )
    shown = transfer_tables.show_behind_local(behind)
    assert shown.loc[("b", "a"), "local model better by"] == "+0.050 [+0.010, +0.090]"


def test_only_noted_cells_of_the_matrix_are_listed():
    cells = {
        ("a", "a", FINDING): draws_around(0.8),
        ("a", "b", FINDING): draws_around(0.3),
        ("a", "b", "pneumonia"): draws_around(0.8),
    }
    shown = transfer_tables.show_conflicts(label_conflicts(cells, dict.fromkeys(cells, 50)))
    assert shown.index.to_list() == [("a", "b", "pleural effusion")]
    assert shown["note"].to_list() == ["ranks the wrong way: read the labels"]


def test_operating_points_show_rates_and_signed_losses():
    shown = transfer_tables.show_operating_points(an_abroad(), FINDING)
    assert shown.index.to_list() == ["b", "c"]
    assert shown.loc["b", "TPR, at home"].startswith("0.100 [")
    assert shown.loc["b", "not got back by re-tuning"].startswith("+0.800 [+")


def test_prevalence_shift_shows_what_prevalence_explains():
    shown = transfer_tables.show_prevalence_shift(an_abroad(), FINDING)
    assert shown.loc["c", "prevalence abroad"].startswith("0.200")
    assert shown.loc["c", "change of PPV left over"].startswith("+0.500 [")


def test_hospitals_apart_give_a_hint_only_where_a_test_does():
    hints = transfer_tables.show_hospitals_apart(an_abroad(), FINDING)["hint"]
    assert "prevalence alone" in hints["b"]
    assert "move together" in hints["c"]


def test_case_mix_says_how_much_of_home_is_compared():
    shown = transfer_tables.show_case_mix(an_abroad(), FINDING)
    assert shown["images at home with a counterpart"].to_list() == ["40%", "40%"]
    assert shown.loc["b", "from case mix"].startswith("+0.400")


def test_without_another_hospital_the_tables_are_empty():
    nothing = an_abroad(hospitals=())
    for show in (
        transfer_tables.show_operating_points,
        transfer_tables.show_prevalence_shift,
        transfer_tables.show_hospitals_apart,
        transfer_tables.show_case_mix,
    ):
        assert show(nothing, FINDING).empty
