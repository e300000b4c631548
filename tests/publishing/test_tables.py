import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.accounting.calibration import specification_for
from dpcxr_core.accounting.certificate import certify
from dpcxr_core.config import UserError
from dpcxr_core.publishing import tables
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.study.run_table import runs_table
from dpcxr_core.training.record import read_record


@pytest.fixture(scope="module")
def conditions(tiny_study):
    return tables.conditions(metrics_table(tiny_study.folders, tiny_study.places), runs_table(tiny_study.folders))


@pytest.fixture(scope="module")
def certificates():
    values = {"delta": 1e-3, "n_units": 100, "expected_batch_size": 10, "n_steps": 5, "max_grad_norm": 1.0}
    found = {epsilon: specification_for(target_epsilon=epsilon, **values) for epsilon in (2.0, 8.0)}
    return [certify(specification, 100, epsilon) for epsilon, specification in found.items()]


def test_certificates_stand_side_by_side(certificates):
    shown = tables.show_certificates(certificates)
    assert shown.columns.to_list() == ["2", "8"]
    assert shown.loc["noise multiplier", "8"] == f"{certificates[1].noise_multiplier:.4g}"
    assert shown.loc["images of one patient in one step", "2"] == "any number"
    of_patients = replace(certificates[0], privacy_unit="patient", max_images_per_patient=4)
    assert tables.show_certificates([of_patients]).loc["images of one patient in one step", "2"] == "4"


def test_noise_of_both_units_stands_one_below_the_other():
    noise = {"image": {1.0: 2.0, 8.0: 0.5}, "patient": {1.0: 3.0, 8.0: 0.75}}
    shown = tables.show_noise_by_unit(noise, {"image": 4000, "patient": 1000}, 100)
    assert shown.loc["patient"].to_list() == ["1,000", "0.1", "3", "0.75"]
    assert shown.loc["image", "sample rate"] == "0.025"


def test_accountants_are_compared_on_the_same_noise(certificates):
    table = tables.epsilon_by_accountant(certificates)
    assert len(table) == 6
    wide = table.pivot(index="noise_multiplier", columns="accountant", values="epsilon")
    assert (wide["RDP"] > wide["PLD"]).all()


def test_checks_show_a_failure_in_capitals():
    check = {"name": "noise", "measured": 7.123456, "limit": 5.0, "passed": False, "detail": "|z|"}
    shown = tables.show_checks([check, {**check, "name": "mean", "passed": True}])
    assert shown.loc["noise", "passed"] == "NO"
    assert shown.loc["noise", "measured"] == "7.123"
    assert shown.loc["mean", "passed"] == "yes"


def test_checks_of_a_record_can_be_shown(tiny_study):
    record = read_record(tiny_study.folders[0])
    assert len(tables.show_checks(record.selfcheck)) == len(record.selfcheck)


def test_auroc_by_finding_states_undefined_with_its_reason(tiny_study):
    metrics = metrics_table(tiny_study.folders[-1:], tiny_study.places)
    metrics.loc[metrics["finding"] == "pneumonia", ["value", "low", "high"]] = np.nan
    shown = tables.auroc_by_finding(metrics, tiny_study.places.private_dataset)
    assert shown.loc["pneumonia", "AUROC"] == "undefined"
    assert shown.loc["macro", "AUROC"].count(".") == 3
    assert shown.loc["atelectasis", "images"] == "260"


def test_auroc_by_level_orders_levels_and_shows_seeds(conditions, tiny_study):
    macro = tables.one_metric(conditions, tiny_study.places.private_dataset, "auroc")
    shown = tables.auroc_by_level(macro)
    assert shown.columns.to_list() == ["epsilon 7", "no privacy"]
    assert " to " in shown.loc["domain supervised (stand-in)", "epsilon 7"]
    assert " to " not in shown.loc["domain supervised (stand-in), own head", "epsilon 7"]
    assert shown.loc["domain supervised (stand-in), own head", "no privacy"] == "not run"


_CONTRAST = {"value": 0.0123, "low": -0.001, "high": 0.03, "low_with_seeds": math.nan, "high_with_seeds": math.nan}


def test_cost_is_signed_and_its_levels_are_words():
    rows = [{"init_label": name, "target_epsilon": epsilon, **_CONTRAST} for epsilon in (8.0, 1.0) for name in "ab"]
    shown = tables.show_cost(pd.DataFrame(rows[:3]))
    assert shown.columns.to_list() == ["epsilon 1", "epsilon 8"]
    assert shown.loc["a", "epsilon 8"] == "+0.012 [-0.001, +0.030]"
    assert shown.loc["b", "epsilon 1"] == "not run"


def test_differences_are_signed_and_carry_p_and_verdict():
    wide = _CONTRAST | {"low_with_seeds": -0.01, "high_with_seeds": 0.04}
    table = pd.DataFrame([_CONTRAST, wide]).assign(
        init_label="a", target_epsilon=[3.0, math.nan], p_adjusted=[0.03, 0.0002], verdict=["better", "worse"]
    )
    shown = tables.show_differences(table)
    assert shown.index.to_list() == [("a", "epsilon 3"), ("a", "no privacy")]
    assert shown["difference in macro AUROC"].to_list() == ["+0.012 [-0.001, +0.030]", "+0.012 [-0.010, +0.040]"]
    assert shown["p, adjusted"].to_list() == ["0.030", "below 0.001"]
    assert shown["verdict"].to_list() == ["better", "worse"]
    assert tables.show_differences(table.rename(columns={"init_label": "claim"})).index.names == ["claim", "level"]


def test_precision_suppresses_small_counts():
    precision = pd.DataFrame(
        {"positive": [4], "negative": [500], "standard error": [0.12345]}, index=["pleural_effusion"]
    )
    shown = tables.show_precision(precision).loc["pleural effusion"]
    assert shown.to_list() == ["fewer than 10", "500", "0.1235"]


def test_spending_never_exceeds_its_target(tiny_study):
    table = tables.spending(runs_table(tiny_study.folders))
    assert (table["epsilon_spent"] <= table.index).all()
    assert table["runs"].sum() == 7


def test_choices_show_every_field_and_those_of_a_choice_within(tiny_study):
    shown = tables.show_choices(tiny_study.configs[0])["value"]
    assert shown["init_name"] == tiny_study.configs[0].init_name
    assert shown["privacy.noise_multiplier"] == "0.9"
    assert shown["ordinary"] == "none"


def test_wide_tables_keep_the_order_of_rows_and_columns():
    table = pd.DataFrame({"who": ["b", "b", "a"], "what": ["y", "x", "x"], "cell": ["1", "2", "3"]})
    shown = tables.wide(table, ["who"], "what")
    assert (shown.index.to_list(), shown.columns.to_list()) == (["b", "a"], ["y", "x"])
    assert shown.loc["b"].to_list() == ["1", "2"]


def test_runs_that_a_table_cannot_tell_apart_are_refused(results):
    metrics, runs = results
    wider = runs.assign(run_id=runs["run_id"] + "-w", architecture="wider")
    both = pd.concat([metrics, metrics.assign(run_id=metrics["run_id"] + "-w")]), pd.concat([runs, wider])
    macro = tables.of_metric(tables.conditions(*both), "hospital_a", ["auroc"], "macro", ["all"])
    with pytest.raises(UserError, match="would share cells.*architecture.*init_label"):
        tables.auroc_by_level(macro)


def test_two_columns_keep_the_order():
    assert tables.two_columns({"b": 1, "a": 2}, "x", "y").index.to_list() == ["b", "a"]


def test_a_number_that_is_not_there_is_undefined():
    assert tables.show_number(0.0123, "+.3f") == "+0.012"
    assert tables.show_number(math.nan, "+.3f") == "undefined"


def test_interval_stands_behind_its_value():
    assert tables.with_interval(0.71, 0.7, 0.72) == "0.710 [0.700, 0.720]"
    assert tables.with_interval(-0.1, -0.2, 0.05, "+.2f") == "-0.10 [-0.20, +0.05]"
    assert tables.with_interval(math.nan, 0.0, 1.0) == "undefined"
    assert tables.with_interval(math.nan, math.nan, math.nan, if_nan="diverged") == "diverged"
