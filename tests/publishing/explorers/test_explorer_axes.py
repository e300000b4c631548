import pandas as pd
import pytest

from dpcxr_core.publishing.explorers.explorer_axes import axes_of, gap_label, group_label
from tests.publishing.conftest import GROUP_METRICS, GROUPS, NOT_EXPLORED, make_metrics, make_runs


@pytest.fixture(scope="module")
def metrics():
    return make_metrics(make_runs(n_seeds=1), findings=("pneumonia", "macro"))


def test_axes_hold_what_the_table_holds_and_the_first_finding_is_first(metrics):
    axes = axes_of(metrics, first_finding="macro")
    assert axes.tests == ["hospital_a", "hospital_b"]
    assert axes.findings == ["macro", "pneumonia"]
    assert [column["key"] for column in axes.columns] == [column for column in GROUPS if column != "all"]
    assert {metric["key"] for metric in axes.metrics} == set(GROUP_METRICS) - set(NOT_EXPLORED)


def test_metric_says_which_values_are_good_and_where_its_bars_start(metrics):
    found = {metric["key"]: metric for metric in axes_of(metrics, first_finding="macro").metrics}
    assert all(metric["reading"] for metric in found.values())
    assert {key: metric["base"] for key, metric in found.items() if metric["base"]} == {
        "auroc": 0.5,
        "calibration_slope": 1.0,
    }
    two_sided = {key for key, metric in found.items() if metric["two_sided"]}
    assert two_sided == {"calibration_slope", "calibration_in_the_large"}


def test_each_row_finds_its_slot_and_others_have_none(metrics):
    axes = axes_of(metrics, first_finding="macro")
    for slot, row in zip(axes.slots_of(metrics), metrics.itertuples(), strict=True):
        if slot < 0:
            assert row.metric in NOT_EXPLORED
        else:
            one = axes.slots[slot]
            assert (one["metric"], one["column"], one["value"]) == (row.metric, row.group_column, row.group_value)


def test_slots_of_all_patients_follow_the_metrics(metrics):
    axes = axes_of(metrics, first_finding="macro")
    named = [(axes.slots[slot]["metric"], axes.slots[slot]["column"]) for slot in axes.slots_of_all]
    assert named == [(metric["key"], "all") for metric in axes.metrics]


def test_metric_without_a_value_of_all_patients_has_no_slot(metrics):
    without = metrics[~((metrics["metric"] == "npv") & (metrics["group_column"] == "all"))]
    axes = axes_of(without, first_finding="macro")
    assert "npv" not in {slot["metric"] for slot in axes.slots}


def test_table_of_nothing_has_no_axes():
    empty = pd.DataFrame(columns=["dataset", "finding", "metric", "group_column", "group_value"])
    assert axes_of(empty, first_finding="macro").slots == []


@pytest.mark.parametrize(
    ("column", "value", "label"),
    [("sex", "M", "male"), ("age_band", "70+", "70+ years"), ("view", "PA", "PA"), ("insurance", "F", "F")],
)
def test_groups_are_named_for_readers(column, value, label):
    assert group_label(column, value) == label


@pytest.mark.parametrize(
    ("column", "value", "label"),
    [
        ("age_band", "70+ - 0-39", "AUROC difference (70+ years minus 0-39 years)"),
        ("view", "AP-PA", "AUROC difference (AP minus PA)"),
        ("insurance", "none-at-all", "AUROC difference (none-at-all)"),
    ],
)
def test_gaps_name_what_is_taken_from_what(column, value, label):
    assert gap_label("auroc_difference", column, value) == label
