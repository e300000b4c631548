import base64
import json
import math
import zlib

import numpy as np
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.comparing.seeds import over_seeds
from dpcxr_core.evaluation.small_counts import TELL_A_SHARE, TELLS_A_COUNT
from dpcxr_core.publishing.explorers.explorer import static_explorer_html
from dpcxr_core.publishing.explorers.explorer_axes import METRICS_SHOWN
from dpcxr_core.publishing.explorers.explorer_payload import FAR_OUT, explorer_payload, pack
from dpcxr_core.publishing.results import CONDITION
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.study.run_table import runs_table
from tests.publishing.conftest import GROUP_METRICS, LABELS, NOT_EXPLORED, TO_A_THOUSANDTH, make_metrics, make_runs


@pytest.fixture(scope="module")
def explored():
    """A small study: runs table, metrics table and their payload."""
    runs = make_runs()
    metrics = make_metrics(runs)
    return runs, metrics, explorer_payload(metrics, runs)


def unpacked(payload):
    """Estimates and seeds of a payload, as numbers, NaN where there are none."""

    def integers(text):
        low, high = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(2, -1)
        return (low.astype(np.int32) | (high.astype(np.int32) << 8)).astype(np.int16)

    def numbers(text, *shape):
        values = integers(text).reshape(shape).astype(float)
        return np.where(values == -32768, math.nan, values / 1000)

    sizes = [len(payload[key]) for key in ("tests", "findings", "slots", "conditions")]
    estimates = numbers(payload["estimates"], 5, *sizes)
    return estimates, numbers(payload["seeds"], *sizes[:2], len(payload["metrics"]), sizes[3], payload["n_seeds"])


def _place(payload, axis, key):
    return [one["key"] for one in payload[axis]].index(key)


def test_every_number_is_that_of_the_seeds_brought_together(explored):
    runs, metrics, payload = explored
    estimates, _ = unpacked(payload)
    expected = over_seeds(metrics.merge(runs, on="run_id"), by=[*CONDITION]).fillna({"privacy_unit": "none"})
    slots = {(one["metric"], one["column"], one["value"]): s for s, one in enumerate(payload["slots"])}
    conditions = {
        (one["init"], one["level"], one["kind"]): c for c, one in enumerate(payload["conditions"])
    }  # fmt: skip
    checked = 0
    for row in expected.itertuples():
        slot = slots.get((row.metric, row.group_column, row.group_value))
        if slot is None:
            assert row.metric in NOT_EXPLORED
            continue
        level = "none" if math.isnan(row.target_epsilon) else f"{row.target_epsilon:g}"
        at = (_place(payload, "tests", row.dataset), _place(payload, "findings", row.finding), slot)
        value, below, above, floor, _ = estimates[:, *at, conditions[row.init_label, level, row.kind]]
        assert [value, value - below, value + above] == pytest.approx(
            [row.value, row.low, row.high], abs=TO_A_THOUSANDTH
        )
        assert math.isnan(floor) == (row.metric in GROUP_METRICS)
        checked += 1
    assert checked == 2 * 2 * len(payload["slots"]) * len(payload["conditions"])


def test_seeds_are_points_of_all_patients(explored):
    runs, metrics, payload = explored
    _, seeds = unpacked(payload)
    ids = runs[(runs["init_label"] == "random") & (runs["target_epsilon"] == 8)]["run_id"]
    rows = metrics[metrics["run_id"].isin(ids) & (metrics["metric"] == "tpr") & (metrics["group_column"] == "all")]
    rows = rows[(rows["dataset"] == "hospital_b") & (rows["finding"] == "pneumonia")]
    condition = [(c["init"], c["level"]) for c in payload["conditions"]].index(("random", "8"))
    at = (_place(payload, "tests", "hospital_b"), _place(payload, "findings", "pneumonia"))
    found = seeds[*at, _place(payload, "metrics", "tpr"), condition]
    assert sorted(found) == pytest.approx(sorted(rows["value"]), abs=TO_A_THOUSANDTH)


def test_packing_keeps_every_integer():
    values = np.array([[-32768, -1, 0], [1, 1000, 32767]])
    low, high = np.frombuffer(zlib.decompress(base64.b64decode(pack(values))), np.uint8).reshape(2, -1)
    assert ((low.astype(int) | (high.astype(int) << 8)) == values.ravel() % 65536).all()


def test_levels_rise_and_no_privacy_is_last_without_unit_or_epsilon_spent(explored):
    payload = explored[2]
    assert [level["key"] for level in payload["levels"]] == ["1", "8", "none"]
    for condition in payload["conditions"]:
        private = condition["kind"] == "private"
        assert (condition["unit"] == "image", condition["spent"] is not None) == (private, private)


def test_public_only_model_is_a_condition_and_no_initialisation_of_its_own():
    runs = make_runs()
    runs.loc[runs["kind"] == "public_only", "init_label"] = "somebody else's"
    payload = explorer_payload(make_metrics(runs), runs)
    assert [one["key"] for one in payload["initialisations"]] == list(LABELS)
    assert [one["init"] for one in payload["conditions"] if one["kind"] == "public_only"] == ["somebody else's"]


def test_what_rests_on_fewer_than_ten_is_blank_with_its_reason(explored):
    runs, metrics, _ = explored
    metrics = metrics.copy()
    women = (metrics["group_value"] == "F") & (metrics["dataset"] == "hospital_a")
    metrics.loc[women, "n"] = 9
    payload = explorer_payload(metrics, runs)
    estimates, _ = unpacked(payload)
    slots = [s for s, one in enumerate(payload["slots"]) if one["value"] == "F"]
    here = estimates[:, _place(payload, "tests", "hospital_a")][:, :, slots]
    assert np.isnan(here[:3]).all()
    reasons = {payload["reasons"][round(1000 * code)] for code in np.unique(here[4])}
    assert reasons == {"fewer than 10 images or positives"}
    assert not np.isnan(estimates[0, _place(payload, "tests", "hospital_b")]).any()


@pytest.mark.parametrize("max_bytes", [900_000, 28_000])
def test_no_rate_tells_a_hidden_share_of_positives_whatever_is_left_out(explored, monkeypatch, max_bytes):
    """Few women of 70 and more with pneumonia hide them for every group, and in the mean over findings."""
    runs, metrics, _ = explored
    metrics = metrics.copy()
    old_women = (metrics["group_value"] == "F, 70+") & (metrics["dataset"] == "hospital_a")
    metrics.loc[old_women & (metrics["finding"] == "pneumonia"), "n_positive"] = 9
    monkeypatch.setattr("dpcxr_core.publishing.explorers.explorer_payload.MAX_BYTES", max_bytes)
    payload = explorer_payload(metrics, runs)
    assert ("macro mean" in payload["left_out"]) == (max_bytes < 900_000)
    estimates, _ = unpacked(payload)
    tells = np.array([one["metric"] in TELL_A_SHARE and one["column"] != "all" for one in payload["slots"]])
    small = np.array([one["value"] == "F, 70+" for one in payload["slots"]])
    assert tells.any()
    here, there = (estimates[:, _place(payload, "tests", name)] for name in ("hospital_a", "hospital_b"))
    assert np.isnan(here[:4][:, :, tells]).all()
    reasons = np.array(payload["reasons"])[np.round(1000 * here[4]).astype(int)]
    assert (reasons[:, tells & ~small] == TELLS_A_COUNT).all()
    assert not np.isnan(here[0][:, ~tells & ~small]).any()
    assert not np.isnan(there[0]).any()


def test_counts_that_a_left_out_group_hides_stay_hidden(explored, monkeypatch):
    runs, metrics, _ = explored
    metrics = metrics.copy()
    old_women = (metrics["group_value"] == "F, 70+") & (metrics["dataset"] == "hospital_a")
    metrics.loc[old_women & (metrics["finding"] == "pneumonia"), "n_positive"] = 9
    whole = explorer_payload(metrics, runs)
    limit = len(json.dumps(whole)) - 1
    monkeypatch.setattr("dpcxr_core.publishing.explorers.explorer_payload.MAX_BYTES", limit)
    less = explorer_payload(metrics, runs)
    assert less["left_out"] == "groups by sex and age together"
    assert less["counts"] == {key: counts for key, counts in whole["counts"].items() if "|sex_and_age|" not in key}
    assert less["counts"]["hospital_a|pneumonia|sex|F"] == [1000, None]
    assert less["counts"]["hospital_b|pneumonia|sex|F"] == [1000, 200]


@pytest.mark.parametrize(("column", "number"), [("value", 40.0), ("low", -17.0), ("high", 70.0), ("high", math.inf)])
def test_what_lies_far_out_is_told_and_not_wrapped_around(explored, column, number):
    """Of scores that hardly differ, a slope may be anything; 40,000 and 70,000 thousandths are other 16-bit numbers."""
    runs, metrics, _ = explored
    metrics = metrics.copy()
    slope = (metrics["metric"] == "calibration_slope") & (metrics["group_column"] == "all")
    metrics.loc[slope & (metrics["run_id"] == "run-0"), column] = number
    payload = explorer_payload(metrics, runs)
    estimates, seeds = unpacked(payload)
    slots = [s for s, one in enumerate(payload["slots"]) if one["metric"] == "calibration_slope"]
    (slot,) = [s for s in slots if payload["slots"][s]["column"] == "all"]
    (condition,) = np.flatnonzero(np.isnan(estimates[0, 0, 0, slot]))
    assert np.isnan(estimates[:3, :, :, slot, condition]).all()
    assert {payload["reasons"][round(1000 * code)] for code in estimates[4, ..., slot, condition].ravel()} == {FAR_OUT}
    assert np.isnan(estimates[0]).sum() == estimates.shape[1] * estimates.shape[2]
    missing = np.isnan(seeds[:, :, _place(payload, "metrics", "calibration_slope"), condition]).sum(axis=-1)
    assert (missing == (column == "value")).all()


def test_mean_over_seeds_is_undefined_where_one_seed_is(explored):
    runs, metrics, _ = explored
    one_run = metrics.copy()
    rows = (one_run["run_id"] == "run-1") & (one_run["metric"] == "npv")
    one_run.loc[rows, ["value", "low", "high"]] = math.nan
    payload = explorer_payload(one_run, runs)
    estimates, _ = unpacked(payload)
    slots = [s for s, one in enumerate(payload["slots"]) if one["metric"] == "npv"]
    assert np.isnan(estimates[0][..., slots, 0]).all()
    assert {payload["reasons"][round(1000 * code)] for code in estimates[4][..., slots, 0].ravel()} == {
        "undefined for some seeds"
    }


def test_run_that_was_not_tested_somewhere_is_not_measured(explored):
    runs, metrics, _ = explored
    gone = metrics["run_id"].isin(["run-0", "run-1"]) & (metrics["dataset"] == "hospital_b")
    payload = explorer_payload(metrics[~gone], runs)
    estimates, seeds = unpacked(payload)
    here = _place(payload, "tests", "hospital_b")
    assert np.isnan(estimates[:4, here, ..., 0]).all()
    assert np.isnan(seeds[here, ..., 0, :]).all()
    assert payload["reasons"][0] == "not measured"
    assert (estimates[4, here, ..., 0] == 0).all()


@pytest.mark.parametrize(
    ("epsilons", "n_conditions", "left_out"),
    [
        ((1.0, 3.0), 21, ""),
        ((0.5, 1.0, 3.0, 8.0), 37, "groups by sex and age together"),
        (
            (0.5, 1.0, 3.0, 8.0, 10.0, 20.0),
            53,
            "groups by sex and age together, and AUPRC, NPV and F1 of other groups",
        ),
    ],
)
def test_six_test_sets_and_six_findings_fit_into_a_page(epsilons, n_conditions, left_out):
    runs = make_runs([f"start {i}" for i in range(4)], epsilons, units=("image", "patient"))
    metrics = make_metrics(runs, tests=[f"hospital_{i}" for i in range(6)], findings=(*FINDINGS, MACRO))
    payload = explorer_payload(metrics, runs)
    assert (len(payload["conditions"]), len(payload["findings"])) == (n_conditions, 6)
    assert [one["key"] for one in payload["metrics"]] == list(METRICS_SHOWN)
    assert payload["left_out"] == left_out
    by_sex = {one["metric"] for one in payload["slots"] if one["column"] == "sex"}
    assert set(METRICS_SHOWN) - by_sex == ({"auprc", "npv", "f1"} if "F1" in left_out else set())
    assert len(static_explorer_html(payload)) < 1_000_000


def test_findings_are_left_out_where_they_do_not_fit(explored, monkeypatch):
    runs, metrics, payload = explored
    assert [one["key"] for one in payload["findings"]] == [MACRO, "pneumonia"]
    monkeypatch.setattr("dpcxr_core.publishing.explorers.explorer_payload.MAX_BYTES", 28_000)
    small = explorer_payload(metrics, runs)
    assert [one["key"] for one in small["findings"]] == [MACRO]
    assert small["left_out"] == "groups by sex and age together, and every finding but the macro mean"


def test_what_does_not_fit_even_then_is_refused(explored, monkeypatch):
    monkeypatch.setattr("dpcxr_core.publishing.explorers.explorer_payload.MAX_BYTES", 1_000)
    with pytest.raises(UserError, match="more than 1,000 bytes, even of the macro mean alone.*fewer runs"):
        explorer_payload(explored[1], explored[0])


def test_payload_is_json_without_runs_or_patients(explored):
    text = json.dumps(explored[2], allow_nan=False)
    assert "patient_id" not in text
    assert "run-" not in text


def test_nothing_to_explore_is_refused(explored):
    runs, metrics, _ = explored
    with pytest.raises(UserError, match="no metric of a private or non-private run"):
        explorer_payload(metrics, runs.assign(kind="public_only", seed=range(len(runs))))


def test_tables_that_do_not_fit_each_other_are_refused(explored):
    runs, metrics, _ = explored
    with pytest.raises(UserError, match="lacks the columns .'architecture'"):
        explorer_payload(metrics, runs.drop(columns="architecture"))
    with pytest.raises(UserError, match="lacks the runs .'run-0'"):
        explorer_payload(metrics, runs[1:])
    with pytest.raises(UserError, match="share training data"):
        explorer_payload(metrics, runs.assign(seed=0))


def test_recorded_runs_are_explored_in_every_metric_and_group_column(tiny_study):
    folders = tiny_study.folders
    payload = explorer_payload(metrics_table(folders, tiny_study.places), runs_table(folders))
    assert [one["key"] for one in payload["tests"]] == list(tiny_study.places.test_datasets)
    assert [one["key"] for one in payload["findings"]] == [MACRO, *FINDINGS]
    assert [one["key"] for one in payload["metrics"]] == list(METRICS_SHOWN)
    assert [one["key"] for one in payload["columns"]] == list(tiny_study.places.evaluation.group_columns)
    gaps = {slot["metric"] for slot in payload["slots"]} - set(METRICS_SHOWN)
    assert gaps == {gap for metric in payload["metrics"] for gap in metric["gaps"]}
    assert len(payload["levels"]) == 2
