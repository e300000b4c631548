import json
import math

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.publishing.explorer_payload import explorer_payload


def _values_of(results, label, epsilon, dataset):
    """The AUROCs of a condition's seeds, found by masking."""
    metrics, runs = results
    same = runs["target_epsilon"].isna() if math.isnan(epsilon) else runs["target_epsilon"] == epsilon
    ids = runs[(runs["init_label"] == label) & same & (runs["kind"] != "public_only")]["run_id"]
    rows = metrics[metrics["run_id"].isin(ids) & (metrics["dataset"] == dataset)]
    return rows[(rows["metric"] == "auroc") & (rows["group_column"] == "all")]


def test_every_cell_holds_mean_seeds_and_spanning_interval_of_its_runs(results):
    payload = explorer_payload(*results)
    epsilons = [1.0, 8.0, math.nan]
    for e, dataset in enumerate(("hospital_a", "hospital_b")):
        for i, init in enumerate(payload["initialisations"]):
            for k, epsilon in enumerate(epsilons):
                cell = payload["cells"][e][i][k]
                rows = _values_of(results, init["label"], epsilon, dataset)
                assert cell["auroc"]["value"] == pytest.approx(rows["value"].mean(), abs=1e-4)
                assert cell["auroc"]["low"] == pytest.approx(rows["low"].min(), abs=1e-4)
                assert cell["auroc"]["high"] == pytest.approx(rows["high"].max(), abs=1e-4)
                assert sorted(cell["seeds"]) == pytest.approx(sorted(rows["value"]), abs=1e-4)


def test_no_privacy_is_the_last_level_and_spends_nothing(results):
    payload = explorer_payload(*results)
    assert [level["label"] for level in payload["levels"]] == ["1", "8", "no privacy"]
    assert payload["cells"][0][0][2]["spent"] is None
    assert payload["cells"][0][0][1]["spent"] == pytest.approx(7.99)


def test_public_only_model_is_a_reference_and_no_initialisation_of_its_own(results):
    payload = explorer_payload(*results)
    assert [e["label"] for e in payload["evaluations"]] == [
        "hospital_a (internal)",
        "hospital_b (external to hospital_a)",
    ]
    assert [reference["auroc"]["value"] for (reference,) in payload["public_only"]] == [0.86, 0.86]


def test_small_group_is_blank_and_its_neighbours_show_no_counts(results):
    metrics, runs = results
    women = (metrics["group_value"] == "F") & (metrics["dataset"] == "hospital_a")
    metrics.loc[women, "n"] = 9
    groups = {g["label"]: g for g in explorer_payload(metrics, runs)["cells"][0][0][0]["groups"]}
    assert groups["female"]["auroc"]["value"] is None
    assert "fewer than 10" in groups["female"]["auroc"]["reason"]
    assert groups["female"]["n"] is None
    assert groups["male"]["n"] is None
    assert groups["male"]["auroc"]["value"] is not None
    assert groups["70+ years"]["n"] == 1000


def test_axes_hold_every_interval(results):
    payload = explorer_payload(*results)
    for evaluation, inits in zip(payload["evaluations"], payload["cells"], strict=True):
        low, high = evaluation["domain"]
        assert all(low < c["auroc"]["low"] and c["auroc"]["high"] < high for cells in inits for c in cells)
    for gap in payload["gaps"]:
        low, high = gap["domain"]
        assert low < 0 < high
        estimates = [c["gaps"][gap["key"]] for inits in payload["cells"] for cells in inits for c in cells]
        assert all(low < e["low"] and e["high"] < high for e in estimates)


def test_missing_run_is_an_empty_cell(results):
    metrics, runs = results
    gone = runs[(runs["init_label"] == "random") & (runs["target_epsilon"] == 8.0)]["run_id"]
    payload = explorer_payload(metrics[~metrics["run_id"].isin(gone)], runs[~runs["run_id"].isin(gone)])
    assert payload["cells"][0][0][1] is None
    assert payload["cells"][0][1][1] is not None


def test_undefined_is_none_so_that_the_payload_is_json(results):
    metrics, runs = results
    metrics.loc[metrics["metric"] == "tpr_difference", ["value", "low", "high"]] = np.nan
    payload = explorer_payload(metrics, runs)
    json.dumps(payload, allow_nan=False)
    assert payload["cells"][0][0][0]["gaps"]["tpr_difference|sex"]["value"] is None


def test_nothing_to_explore_is_refused(results):
    metrics, runs = results
    with pytest.raises(UserError, match="no macro AUROC"):
        explorer_payload(metrics.assign(finding="pneumonia"), runs)


def test_patients_never_enter_the_payload(results):
    text = json.dumps(explorer_payload(*results))
    assert "patient_id" not in text
    assert not pd.Series(results[0]["run_id"].unique()).map(lambda name: f'"{name}"' in text).any()
