import math

import pandas as pd

from dpcxr_core.publishing.chapters import answer_tables
from dpcxr_core.study.verdicts import MISSING, OPEN
from tests.publishing.conftest import some_contrasts


def test_rows_are_named_by_what_tells_them_apart():
    rows = some_contrasts({"target_epsilon": 8.0}, {"target_epsilon": math.inf}, {"unit": "patient"})
    assert answer_tables.names_of(rows) == [
        "image as unit, epsilon 8",
        "image as unit, no privacy",
        "patient as unit, epsilon 8",
    ]
    assert answer_tables.names_of(rows.head(1)) == ["epsilon 8"]
    shares = some_contrasts({"fraction": 0.25}, {"fraction": 1.0})
    assert answer_tables.names_of(shares) == ["25% of the patients", "100% of the patients"]
    regime = dict.fromkeys(["dataset", "architecture", "unit", "fraction", "target_epsilon"])
    assert answer_tables.names_of(some_contrasts({}, regime))[-1] == "no run"
    heads = pd.DataFrame({"head": ["kept", "reset"]})
    assert answer_tables.names_of(heads, ["head"]) == ["head kept", "new head"]


def test_rows_of_one_heading_are_named_by_what_tells_them_apart_within_it():
    rows = some_contrasts({"contrast": "x", "fraction": 0.5}, {"contrast": "x"}, {"contrast": "y", "fraction": 0.25})
    assert answer_tables.names_within(rows, "contrast") == ["50% of the patients", "100% of the patients", "epsilon 8"]
    assert answer_tables.names_within(rows[:0], "contrast") == []


def test_contrasts_show_the_interval_over_seeds_and_the_adjusted_p():
    table = some_contrasts({}, {"value": math.nan, "p_adjusted": math.nan, "verdict": "x"})
    shown = answer_tables.show_contrasts(table, {"row": ["a", "b"]}, "gain")
    assert shown.loc["a"].to_list() == ["+0.030 [+0.010, +0.050]", 2, "0.010", "better"]
    assert shown.loc["b", "gain"] == "undefined"
    alone = table.head(1).assign(low_with_seeds=math.nan, high_with_seeds=math.nan)
    assert answer_tables.show_contrasts(alone, {"row": ["a"]}, "gain")["gain"].item() == "+0.030 [+0.020, +0.040]"


def _claims():
    rows = [{"claim": 1, "contrast": "self_supervised minus supervised", "verdict": OPEN, "target_epsilon": 1.0}]
    rows += [{**rows[0], "target_epsilon": 8.0, "dataset": "south"}]
    absent = dict.fromkeys(["dataset", "architecture", "unit", "fraction", "target_epsilon"])
    nothing = {"value": math.nan, "p_adjusted": math.nan, "verdict": MISSING, "reason": "domain"}
    rows += [{**absent, **nothing, "claim": 2, "contrast": "domain minus self_supervised"}]
    return some_contrasts(*rows)


def test_a_missing_contrast_is_shown_with_what_it_lacks():
    shown = answer_tables.show_claim(_claims(), 2)
    assert shown.index.to_list() == [("domain minus self-supervised", "no run")]
    assert shown["verdict"].item() == "missing: domain"
    assert answer_tables.show_claim(_claims(), 1)["verdict"].to_list() == [OPEN, OPEN]


def test_a_forest_of_claims_is_of_one_data_set_and_keeps_what_is_missing_everywhere():
    rows = answer_tables.claim_rows(_claims(), (1, 2), "north")
    assert rows["heading"].to_list() == ["self-supervised minus supervised", "domain minus self-supervised"]
    assert rows["name"].to_list() == ["epsilon 1", "no run"]
    assert rows["panel"].iloc[0] == "Claim 1: macro AUROC at home, self-supervised minus supervised"
    assert answer_tables.claim_rows(_claims(), (2,), "nowhere")["name"].to_list() == ["no run"]
    assert answer_tables.claim_rows(_claims(), (6,), "north").empty


def test_verdicts_say_what_each_claim_needs():
    verdict = {
        "claim": 1,
        "text": "It is so.",
        "source": "abstract",
        "test": "a minus b",
        "rule": "everywhere",
        "verdict": "supported",
    }
    counts = {"n_contrasts": 3, "n_in_favour": 3, "n_against": 0, "n_missing": 0, "n_unmeasurable": 1}
    verdicts = pd.DataFrame([verdict | counts])
    assert answer_tables.show_verdicts(verdicts).loc[1].to_list() == ["It is so.", "abstract", "supported"]
    row = ["a minus b", "every contrast in favour", 3, 3, 0, 0, 1]
    assert answer_tables.show_tests_of_claims(verdicts).loc[1].to_list() == row


def test_only_its_own_public_only_model_is_in_the_forest_and_all_are_in_the_table():
    mimic = {"initialisation": "mimic"}
    table = some_contrasts(
        {**mimic, "public_only": "mimic", "head": "kept"},
        {**mimic, "public_only": "mimic", "head": "reset"},
        {**mimic, "public_only": "mimic", "head": "reset", "initialisation": "dino"},
    )
    rows = answer_tables.private_rows(table)
    assert rows[["panel", "heading", "name"]].to_numpy().tolist() == [
        ["starting from mimic", "head kept", "epsilon 8"],
        ["starting from mimic", "new head", "epsilon 8"],
    ]
    shown = answer_tables.show_private(table)
    assert shown.index.to_list()[-1] == ("mimic", "new head, dino", "epsilon 8")
    assert answer_tables.private_rows(table[:0]).empty


def test_gains_stand_above_what_sets_them_apart_from_the_reference():
    gains = some_contrasts({"initialisation": "a"}, {"initialisation": "b"}, over="0.5, 1").drop(columns="fraction")
    rows = answer_tables.gain_rows(gains, gains.head(1), "b")
    assert rows["panel"].to_list() == ["gain", "gain", "gain, less that of b"]
    assert rows["name"].to_list() == ["a", "b", "a"]
    assert set(rows["heading"]) == {""}
    several = pd.concat([gains, gains.assign(target_epsilon=1.0)], ignore_index=True)
    rows = answer_tables.gain_rows(several, several[:0], "b")
    assert rows["heading"].to_list() == ["a", "b"] * 2
    assert rows["name"].to_list() == ["epsilon 8"] * 2 + ["epsilon 1"] * 2
    shown = answer_tables.show_gains(gains, "gain")
    assert shown.index.to_list()[0] == ("a", "epsilon 8", "0.5, 1")
    assert shown["verdict"].to_list() == ["better"] * 2


def test_ablations_say_what_differs_without_the_room_it_is_kept_in():
    table = some_contrasts(
        {"ablation": "adamw", "differs_in": "recipe.optimizer, recipe.learning_rate", "initialisation": "a"},
        {"ablation": "scale", "differs_in": "fraction", "initialisation": "b"},
    )
    rows = answer_tables.ablation_rows(table)
    assert rows["heading"].to_list() == ["adamw (optimizer, learning rate)", "scale (fraction)"]
    assert rows["name"].to_list() == ["a, epsilon 8", "b, epsilon 8"]
    assert answer_tables.show_ablated(table).index.to_list()[0] == ("adamw", "optimizer, learning rate", "a, epsilon 8")
    assert answer_tables.ablation_rows(table[:0]).empty


def test_ablations_without_a_main_cell_show_their_auroc():
    table = some_contrasts({"ablation": "as_published", "initialisation": "a", "target_epsilon": 11.0, "value": 0.8})
    shown = answer_tables.show_without_main_cell(table)
    row = ["0.800 [0.780, 0.820]", 2, "none at its epsilon"]
    assert shown.loc[("as_published", "a, epsilon 11")].to_list() == row
    assert answer_tables.show_without_main_cell(table[:0]).empty
