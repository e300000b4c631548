import json

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters import speed_tables
from dpcxr_core.publishing.chapters.speed_tables import OURS, OURS_PATIENTS, SpeedResults

SETTING = {"architecture": "convnext_mini", "size": 64, "batch": 8}
NAME = "convnext_mini, 64 px, batch 8"
SLOW_OPACUS, WRONG_OPACUS, FAILED_OPACUS = "Opacus slow", "Opacus wrong", "Opacus failed"
# Seconds in three rounds; Opacus took part in the first two. In round 1 the machine was twice as slow.
SECONDS = {
    "ordinary": [1.0, 2.0, 1.2],
    "ordinary, fast depthwise": [0.8, 1.6, 0.9],
    OURS: [0.88, 1.84, 0.9],
    OURS_PATIENTS: [0.88, 2.76, 1.8],
    SLOW_OPACUS: [4.0, 10.0],
    WRONG_OPACUS: [2.0, 4.0],
}
ERRORS = {SLOW_OPACUS: 9e-6, WRONG_OPACUS: 5e-3, FAILED_OPACUS: np.nan}
PEAKS = {"ordinary": 100e6, "ordinary, fast depthwise": 90e6, OURS: 130e6}


def _kind(method):
    return "ordinary" if method.startswith("ordinary") else "Opacus" if method.startswith("Opacus") else "ours"


@pytest.fixture
def results():
    methods = [*SECONDS, FAILED_OPACUS]
    times = [
        {"method": method, "round": turn, "seconds": value}
        for method, values in SECONDS.items()
        for turn, value in enumerate(values)
    ]
    facts = [
        {
            "method": method,
            "kind": _kind(method),
            "noisy": True,
            "relative_error": ERRORS.get(method, 1e-6),
            "failure": "ValueError: why" if method == FAILED_OPACUS else "",
        }
        for method in methods
    ]
    memory = [{"method": name, "kind": _kind(name), "peak_bytes": peak, "failure": ""} for name, peak in PEAKS.items()]
    growth = [
        {"sweep": "batch", "n_parameters": 10, "physical_batch": 64, "method": "ordinary", "round": turn}
        | {"seconds": value, "peak_bytes": 5e6}
        for turn, value in enumerate((3.0, 1.0, 2.0))
    ]
    return SpeedResults(
        step_times=pd.DataFrame(times).assign(**SETTING),
        step_facts=pd.DataFrame(facts).assign(**SETTING),
        memory=pd.DataFrame(memory).assign(**SETTING),
        growth=pd.DataFrame(growth).assign(**SETTING),
        noise=pd.DataFrame({"generator": "g", "round": [0, 1, 2], "seconds": [0.04, 0.02, 0.06], "n": 4_000_000}),
        loading=pd.DataFrame({"round": [0, 1, 2], "seconds": [0.1, 0.1, 9.0]}).assign(**SETTING),
        machine={"date": "2026-01-01", "clock": "wall time", "versions": {"torch": "2"}},
    )


def test_the_best_ordinary_method_is_the_one_with_the_least_median(results):
    assert speed_tables.best_ordinary(results.step_times, results.step_facts) == "ordinary, fast depthwise"
    without = results.step_facts[results.step_facts["kind"] != "ordinary"]
    with pytest.raises(UserError, match="no method without privacy"):
        speed_tables.best_ordinary(results.step_times, without)


def test_ratios_are_taken_round_by_round_to_the_best_ordinary_method(results):
    costs = speed_tables.step_costs(results).set_index("method")
    assert costs["best"].to_dict() == {name: name == "ordinary, fast depthwise" for name in costs.index}
    ours = costs.loc[OURS]
    # 1.1, 1.15, 1.0: the ratio of the medians, 0.9 / 0.9, would be another number
    assert (ours["ratio"], ours["ratio_low"], ours["ratio_high"]) == pytest.approx((1.1, 1.0, 1.15))
    assert (ours["seconds"], ours["least"], ours["most"], ours["n_rounds"]) == (0.9, 0.88, 1.84, 3)
    assert costs.loc[SLOW_OPACUS, "ratio"] == pytest.approx((4 / 0.8 + 10 / 1.6) / 2)
    assert costs.loc[SLOW_OPACUS, "n_rounds"] == 2


def test_memory_is_a_ratio_to_the_ordinary_step_and_missing_where_it_was_not_measured(results):
    costs = speed_tables.step_costs(results).set_index("method")
    assert costs.loc[OURS, "memory_ratio"] == pytest.approx(1.3)
    assert costs.loc["ordinary, fast depthwise", "memory_ratio"] == pytest.approx(0.9)
    assert np.isnan(costs.loc[SLOW_OPACUS, "memory_ratio"])


def _only(results, n_rounds):
    """``results`` of the first rounds alone."""
    times = results.step_times[results.step_times["round"] < n_rounds]
    return SpeedResults(**{**vars(results), "step_times": times})


def test_a_wrong_method_and_a_failed_one_are_told_apart(results):
    costs = speed_tables.step_costs(results)
    assert speed_tables.show_errors(costs)[NAME].to_dict() == {
        "ordinary": "1e-06",
        "ordinary, fast depthwise": "1e-06",
        "ours": "1e-06",
        "ours, patients": "1e-06",
        SLOW_OPACUS: "9e-06",
        WRONG_OPACUS: "5e-03 WRONG",
        FAILED_OPACUS: "failed",
    }
    assert speed_tables.failures(costs) == f"Failed: Opacus failed with {NAME} (ValueError: why)."
    assert speed_tables.failures(costs[costs["failure"] == ""]) == "No method failed."


def test_ratios_have_a_row_a_method_and_a_column_a_setting(results):
    again = {"step_times": results.step_times.assign(size=128), "step_facts": results.step_facts.assign(size=128)}
    both = {name: pd.concat([getattr(results, name), table[table["method"] != OURS]]) for name, table in again.items()}
    shown = speed_tables.show_ratios(speed_tables.step_costs(SpeedResults(**{**vars(results), **both})))
    assert shown.columns.to_list() == [NAME, "convnext_mini, 128 px, batch 8"]
    assert shown.index.to_list()[:4] == ["ordinary", "ordinary, fast depthwise", "ours", "ours, patients"]
    assert shown.loc["ours"].to_list() == ["1.10 [1.00, 1.15]", "not measured"]
    assert shown.loc[FAILED_OPACUS].to_list() == ["failed", "failed"]
    assert shown.loc["ordinary, fast depthwise"].to_list() == ["1.00", "1.00"]  # to itself


def test_one_round_has_no_range(results):
    shown = speed_tables.show_ratios(speed_tables.step_costs(_only(results, 1)))
    assert shown.loc["ours", NAME] == "1.10"


def test_milliseconds_are_of_the_best_ordinary_step_and_ours_with_rounds(results):
    assert speed_tables.show_milliseconds(speed_tables.step_costs(results)).loc[NAME].to_list() == [
        "ordinary, fast depthwise",
        "900 [800, 1600]",
        "900 [880, 1840]",
        3,
        2,
    ]


def test_memory_is_shown_where_it_was_measured(results):
    facts = pd.concat([results.step_facts, results.step_facts.assign(size=128)])
    times = pd.concat([results.step_times, results.step_times.assign(size=128)])
    more = SpeedResults(**{**vars(results), "step_facts": facts, "step_times": times})
    shown = speed_tables.show_memory(speed_tables.step_costs(more))
    assert shown.columns.to_list() == [NAME]
    assert shown.loc["ours", NAME] == "130 MB (1.30)"
    assert shown.loc["ours, patients", NAME] == "not measured"


def test_ours_is_compared_to_the_fastest_correct_method_of_opacus_only(results):
    (row,) = speed_tables.comparisons(results).to_dict("records")
    assert row["opacus"] == SLOW_OPACUS  # the wrong one is faster
    assert row["opacus_over_ours"] == pytest.approx((4 / 0.88 + 10 / 1.84) / 2)
    assert row["patient_over_image"] == pytest.approx(1.5)
    facts = results.step_facts.assign(relative_error=results.step_facts["relative_error"] * 1e3)
    none = SpeedResults(**{**vars(results), "step_facts": facts})
    assert speed_tables.show_comparisons(speed_tables.comparisons(none)).loc[NAME].to_list() == [
        "none is correct",
        "not measured",
        "1.50",
    ]


def test_growth_noise_and_loading_are_medians(results):
    (point,) = speed_tables.growth_points(results).to_dict("records")
    assert (point["seconds"], point["least"], point["most"], point["peak_bytes"]) == (2.0, 1.0, 3.0, 5e6)
    again = results.growth.assign(sweep="network")  # the two sweeps may share a point
    both = SpeedResults(**{**vars(results), "growth": pd.concat([results.growth, again])})
    shown = speed_tables.show_growth(speed_tables.growth_points(both))
    assert shown.index.get_level_values("sweep").to_list() == ["batch", "network"]
    assert shown["ordinary"].to_list() == ["2000 [1000, 3000] ms, 5 MB"] * 2
    assert speed_tables.show_noise(results).iloc[0, 0] == "10.0 [5.0, 15.0]"
    (share,) = speed_tables.loading_shares(results).to_dict("records")
    assert share["images_per_second"] == pytest.approx(80)
    assert share["share"] == pytest.approx(0.1 / (0.1 + 0.9))
    assert speed_tables.show_loading(results).loc[NAME].to_list() == ["80", "10.00%"]
    assert speed_tables.show_machine(results)["value"].to_dict()["torch"] == "2"


def test_files_are_shown_with_their_own_date_and_commit(results):
    machine = {**results.machine, "files": {"noise": {"date": "2026-01-02", "commit": "abc", "minutes": 1}}}
    shown = speed_tables.show_machine(SpeedResults(**{**vars(results), "machine": machine}))
    assert shown["value"].to_dict()["noise.csv"] == "2026-01-02, abc"
    assert "files" not in shown.index


def test_results_are_read_as_they_were_written(results, tmp_path):
    names = ("step_times", "step_facts", "memory", "growth", "noise", "loading")
    for name in names:
        getattr(results, name).to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(UserError, match=r"no machine\.json. Run make bench"):
        speed_tables.read_results(tmp_path)
    (tmp_path / speed_tables.MACHINE_FILE).write_text(json.dumps(results.machine))
    found = speed_tables.read_results(tmp_path)
    assert found.machine == results.machine
    for name in names:
        pd.testing.assert_frame_equal(getattr(found, name), getattr(results, name), check_dtype=False)
