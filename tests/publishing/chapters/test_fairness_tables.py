import math

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.evaluation.comparing.seeds import OTHER_SEED
from dpcxr_core.evaluation.small_counts import TELLS_A_COUNT
from dpcxr_core.publishing import tables
from dpcxr_core.publishing.chapters import fairness_tables


@pytest.fixture
def conditions(results):
    return tables.conditions(*results)


def _measured(n, n_positive, reason=("", "", "", ""), finding="pneumonia"):
    """Prevalences, true ratios, of all, of two sexes and of one view."""
    value = np.divide(n_positive, n)
    return pd.DataFrame(
        {
            "dataset": "north",
            "finding": finding,
            "metric": "prevalence",
            "group_column": ["all", "sex", "sex", "view"],
            "group_value": ["all", "F", "M", "PA"],
            "n": n,
            "n_positive": n_positive,
            "value": value,
            "low": value - 0.01,
            "high": value + 0.01,
            "reason": reason,
        }
    )


def test_group_sizes_are_told_where_they_point_at_nobody():
    shown = fairness_tables.group_sizes(_measured([1500, 800, 700, 1500], [300, 204, 96, 300]), "north", "pneumonia")
    assert shown.loc[("sex", "F")].to_list() == ["800", "204", "0.255 [0.245, 0.265]", ""]


@pytest.mark.parametrize(
    ("n_positive", "reason"),
    [
        ([300, 296, 4, 300], ["", "", "fewer than 10 positives", ""]),
        ([300, 204, 96, 300], ["", "", "positives of fewer than 10 patients", ""]),
        ([300, 204, 96, 296], ["", "", "", ""]),  # 4 of unknown view
    ],
)
def test_no_group_size_tells_positives_that_point_at_people(n_positive, reason):
    shown = fairness_tables.group_sizes(_measured([1500, 800, 700, 1000], n_positive, reason), "north", "pneumonia")
    groups = shown.drop(index=("all", "all"))
    assert groups["images"].to_list() == ["800", "700", "1,000"]
    assert (groups[["positive images", "prevalence"]] == "withheld").all(axis=None)  # images times prevalence tells too
    assert shown.loc[("all", "all")].to_list() == ["1,500", "300", "0.200 [0.190, 0.210]", ""]


def test_sizes_for_the_macro_mean_hide_what_those_of_any_finding_do():
    rare = _measured([1500, 800, 700, 1500], [100, 96, 4, 100], finding="pneumonia")
    common = _measured([1500, 800, 700, 1500], [300, 204, 96, 300], finding="atelectasis")
    macro = common.assign(finding="macro")
    shown = fairness_tables.group_sizes(pd.concat([rare, common, macro]), "north", "macro")
    assert shown.loc[("sex", "F")].to_list() == ["800", "withheld", "withheld", ""]


def test_positives_of_the_rarest_finding_of_each_group_hide_nothing_though_they_do_not_add_up():
    first = _measured([1500, 800, 700, 1500], [300, 204, 96, 300], finding="pneumonia")
    second = _measured([1500, 800, 700, 1500], [305, 200, 105, 305], finding="atelectasis")
    macro = _measured([1500, 800, 700, 1500], [300, 200, 96, 300], finding="macro")  # 4 are in neither sex
    shown = fairness_tables.group_sizes(pd.concat([first, second, macro]), "north", "macro")
    assert shown["positive images"].to_list() == ["300", "200", "96", "300"]
    assert not (shown == "withheld").any(axis=None)


def test_noise_floors_stand_in_columns_of_findings_with_their_reason():
    floors = pd.DataFrame(
        {
            "group_column": ["sex_and_age", "sex_and_age", "sex"],
            "finding": ["no_finding", "macro", "no_finding"],
            "expected": [0.0123, math.nan, 0.004],
            "percentile_95": [0.0345, math.nan, 0.009],
            "reason": ["", "fewer than two groups can be measured", ""],
        }
    )
    shown = fairness_tables.show_noise_floors(floors.iloc[:2])
    assert shown.loc["sex and age"].to_dict() == {
        "no finding": "0.012 (0.035)",
        "macro": "fewer than two groups can be measured",
    }


def test_gaps_are_wide_by_gap_and_long_by_condition(conditions):
    gaps = tables.of_metric(conditions, "hospital_a", ["auroc_difference", "tpr_difference"], "macro")
    shown = fairness_tables.show_gaps(gaps)
    assert set(shown.columns) == {
        "AUROC difference, F-M by sex",
        "AUROC difference, 70+ - 0-39 by age band",
        "TPR difference, max-min by sex",
    }
    assert len(shown) == len(gaps[["init_label", "target_epsilon", "kind"]].drop_duplicates())
    assert shown.loc[("random", "epsilon 1"), "AUROC difference, F-M by sex"] == "-0.020 [-0.040, +0.000]"


def test_rows_of_no_such_set_are_an_empty_table(conditions):
    none = tables.of_metric(conditions, None, ["auroc_difference"], "macro")
    assert none.empty
    assert fairness_tables.show_gaps(none).empty
    only = tables.of_metric(conditions, "hospital_a", ["auroc"], "macro", ["sex"])
    assert set(only["group_column"]) == {"sex"}


def test_worst_groups_are_named(conditions):
    worst = tables.of_metric(conditions, "hospital_a", ["auroc"], "macro", ["all"]).assign(
        group_column="sex_and_age", group_value="min", reason="F, 70+"
    )
    shown = fairness_tables.show_worst_groups(worst)
    assert shown["sex and age"].str.endswith("] (F, 70+)").all()
    told = f"F, 70+; mean over no_finding; without M, 70+{OTHER_SEED}M, 0-39; mean over no_finding{OTHER_SEED}F, 70+"
    shown = fairness_tables.show_worst_groups(worst.assign(reason=told))
    assert shown["sex and age"].str.endswith("] (F, 70+ or M, 0-39)").all()


def test_rates_tell_what_was_held_still(conditions):
    plain = tables.of_metric(conditions, "hospital_a", ["auroc"], "macro", ["sex"])
    within = plain.assign(group_column="sex within AP", value=math.nan)
    equal = plain.assign(group_column="sex at equal prevalence", value=math.nan, reason=TELLS_A_COUNT)
    shown = fairness_tables.show_rates(pd.concat([plain, within, equal]))
    ways = ["", " within AP", " at equal prevalence"]
    assert shown.columns.to_list() == [f"{sex}{way}" for way in ways for sex in "FM"]
    assert (shown["F within AP"] == "undefined").all()
    assert (shown["F at equal prevalence"] == "withheld").all()
    assert (shown["F"] != "undefined").all()


def test_tests_show_both_p(results):
    _, runs = results
    tests = pd.DataFrame(
        {
            "run_id": [runs["run_id"].iloc[0]] * 2,
            "finding": ["macro", "pneumonia"],
            "metric": "fpr_difference",
            "group_column": "age_band",
            "group_value": "max-min",
            "value": 0.05,
            "p": [0.0005, 0.5],
            "p_adjusted": [0.012, math.nan],
        }
    )
    shown = fairness_tables.show_tests(tests, runs, "macro")
    assert shown.index.to_list() == [("epsilon 1", "age band", "FPR difference, max-min")]
    assert shown.iloc[0].to_list() == ["+0.050", "below 0.001", "0.012"]
    assert fairness_tables.show_tests(tests, runs, "pneumonia")["p, adjusted"].item() == "no test"


def _contrasts(**columns):
    row = {"init_label": "a", "target_epsilon": 3.0, "minuend": "F", "subtrahend": "M", "p_adjusted": 0.2}
    row |= {"value": 0.01, "low": -0.01, "high": 0.03, "low_with_seeds": math.nan, "high_with_seeds": math.nan}
    return pd.DataFrame([row | columns])


def test_movements_show_both_gaps_and_the_wider_interval_where_there_is_one():
    moved = fairness_tables.show_movements(_contrasts(gap_with=-0.03, gap_without=-0.04))
    assert moved.loc[("a", "epsilon 3", "F minus M")].to_dict() == {
        "gap without privacy": "-0.040",
        "gap with privacy": "-0.030",
        "difference": "+0.010 [-0.010, +0.030]",
        "p, adjusted": "0.200",
    }
    changed = fairness_tables.show_movements(_contrasts(low_with_seeds=-0.05, high_with_seeds=0.07))
    assert changed.columns.to_list() == ["difference", "p, adjusted"]
    assert changed["difference"].item() == "+0.010 [-0.050, +0.070]"


def test_published_gaps_stand_beside_ours():
    beside = pd.DataFrame(
        {
            "finding": ["macro", "macro", "pneumonia"],
            "metric": ["tpr_difference", "auroc", "tpr_difference"],
            "group_column": "sex",
            "group_value": ["max-min", "F", "max-min"],
            "as_published": 0.05,
            "low": np.nan,
            "high": np.nan,
            "value": 0.04,
            "our_low": 0.0,
            "our_high": 0.08,
            "noise_floor": 0.02,
            "reason": "",
        }
    )
    shown = fairness_tables.show_published(beside, "macro")
    assert shown.index.to_list() == [("TPR difference", "sex")]
    assert shown.iloc[0].to_list() == ["0.050", "0.040 [0.000, 0.080]", "0.020"]
    hidden = fairness_tables.show_published(beside.assign(reason=TELLS_A_COUNT), "macro")
    assert hidden.iloc[0].to_list()[:2] == ["withheld", "withheld"]
