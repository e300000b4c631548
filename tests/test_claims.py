import pandas as pd
import pytest

from dpcxr_core import claims
from dpcxr_core.evaluation.statistics.auroc import auroc
from dpcxr_core.publishing.tables import one_metric
from dpcxr_core.study import metrics_table, runs_table
from dpcxr_core.training.record import read_table


def _macro(folder, dataset):
    scores = read_table(folder, "scores")
    here = scores[scores["dataset"] == dataset]
    return here.groupby("finding").apply(lambda rows: auroc(rows["y_true"], rows["y_score"])).mean()


def test_cost_of_privacy_is_ordinary_minus_private():
    macro = pd.DataFrame(
        {
            "init_label": ["a", "a", "a", "b", "b", "b", "c"],
            "kind": ["private", "private", "non_private"] * 2 + ["private"],
            "target_epsilon": [1.0, 8.0, float("nan")] * 2 + [1.0],
            "value": [0.6, 0.7, 0.9, 0.65, 0.8, 0.8, 0.5],
        }
    )
    cost = claims.cost_of_privacy(macro)
    assert cost.loc["a"].to_list() == pytest.approx([0.3, 0.2])
    assert cost.loc["b"].to_list() == pytest.approx([0.15, 0.0])
    assert "c" not in cost.index


def test_against_public_only_is_the_mean_difference_over_seeds(tiny_study):
    runs = runs_table(tiny_study.folders)
    table = claims.against_public_only(tiny_study.folders, runs, tiny_study.places)
    conditions = runs[runs["kind"] != "public_only"].drop_duplicates(["init_label", "kind", "target_epsilon"])
    assert len(table) == len(conditions)
    label = "domain supervised (stand-in)"
    row = table[(table["init_label"] == label) & (table["kind"] == "private")].iloc[0]
    dataset = tiny_study.places.private_dataset
    reference = _macro(tiny_study.folders[-1], dataset)
    seeds = [
        _macro(folder, dataset) - reference
        for folder, run in zip(tiny_study.folders, runs.to_dict("records"), strict=True)
        if run["init_label"] == label and run["kind"] == "private"
    ]
    assert row["n_seeds"] == len(seeds) == 2
    assert row["value"] == pytest.approx(sum(seeds) / 2)
    assert row["low"] <= row["value"] <= row["high"]


def test_verdict_needs_the_intervals_of_all_seeds_on_one_side():
    rows = pd.DataFrame(
        {
            "init_label": ["a", "a", "b", "b", "c", "c"],
            "value": [0.1, 0.2, 0.1, 0.2, -0.1, -0.2],
            "low": [0.05, 0.1, -0.01, 0.1, -0.2, -0.3],
            "high": [0.2, 0.3, 0.2, 0.3, -0.05, -0.1],
        }
    )
    table = claims._over_seeds(rows, ["init_label"]).set_index("init_label")
    assert table["verdict"].to_dict() == {"a": "better", "b": "not distinguishable", "c": "worse"}


def test_order_compares_neighbours_in_the_expected_order(tiny_study):
    runs, metrics = runs_table(tiny_study.folders), metrics_table(tiny_study.folders)
    table = claims.order_of_initialisations(tiny_study.folders, runs, tiny_study.places, tiny_study.init_names)
    assert table["claim"].unique().tolist() == [
        "non-domain self-supervised (stand-in) > non-domain supervised (stand-in)",
        "domain supervised (stand-in) > non-domain self-supervised (stand-in)",
    ]
    macro = one_metric(metrics, tiny_study.places.private_dataset, "auroc")
    joined = macro.merge(runs, on="run_id")
    means = joined[(joined["kind"] == "private") & (joined["head"] == "reset")].groupby("init_label")["value"].mean()
    first = table[(table["kind"] == "private")].iloc[0]
    better, worse = first["claim"].split(" > ")
    assert first["value"] == pytest.approx(means[better] - means[worse])
