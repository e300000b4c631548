import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.evaluation.comparing.paired import CONTRAST_COLUMNS
from dpcxr_core.evaluation.draws import Draws
from dpcxr_core.publishing.tables import one_metric
from dpcxr_core.study import claims, evaluating
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.study.run_table import runs_table
from tests.study import DRAWS_ARE_FLOAT32

PLACES = SimpleNamespace(private_dataset="north")
TESTED = [*CONTRAST_COLUMNS, "family", "p_adjusted", "n_in_family"]


@pytest.fixture
def measured(monkeypatch):
    """Makes run folders whose macro AUROCs, on the data and on 200 resamples, are given; patients move all alike."""
    aurocs = {}

    def draws_of(folder, places):
        values = np.asarray(aurocs[folder.name], dtype=np.float32).reshape(-1, 1, 1)
        return {
            "north": Draws(folder.name, "north", ("macro",), (("all", "all"),), {"auroc": values}, np.full((1, 1), 500))
        }

    def folder_of(run_id, auroc, error=0.002):
        rng = np.random.default_rng([*run_id.encode()])
        shared = 0.05 * np.random.default_rng(0).normal(size=200)
        aurocs[run_id] = auroc + np.concatenate([[0], shared + error * rng.normal(size=200)])
        return Path("runs") / run_id

    monkeypatch.setattr(evaluating, "draws_of", draws_of)
    return folder_of


def _one_of(measured, **aurocs):
    """Folders by (name, seed) of runs with these macro AUROCs, one a seed; None for one that diverged."""
    return {
        (name, seed): None if value is None else measured(f"{name}-{seed}", value)
        for name, values in aurocs.items()
        for seed, value in enumerate(values)
    }


def test_cost_of_privacy_is_ordinary_minus_private(measured):
    runs = pd.DataFrame(
        [
            *[("a", "private", 1.0, seed, 0.60 + 0.01 * seed) for seed in (0, 1)],
            *[("a", "private", 8.0, seed, 0.70) for seed in (0, 1)],
            *[("a", "non_private", math.nan, seed, 0.90) for seed in (0, 1)],
            ("b", "private", 1.0, 0, 0.50),
        ],
        columns=["init_label", "kind", "target_epsilon", "seed", "auroc"],
    )
    runs["run_id"] = [f"run-{row}" for row in range(len(runs))]
    folders = [measured(run["run_id"], run["auroc"]) for run in runs.to_dict("records")]
    cost = claims.cost_of_privacy(folders, runs.drop(columns="auroc"), PLACES)
    assert cost.columns.to_list() == ["init_label", "target_epsilon", *TESTED]
    assert cost["init_label"].to_list() == ["a", "a"]  # b was not trained without privacy
    assert cost["value"].to_list() == pytest.approx([0.295, 0.2], abs=DRAWS_ARE_FLOAT32)
    assert cost["n_seeds"].to_list() == [2, 2]
    assert cost["seed_sd"].to_list() == pytest.approx([0.01 / math.sqrt(2), 0], abs=DRAWS_ARE_FLOAT32)
    assert (cost["high"] - cost["low"] < 0.02).all()  # far less than the patients' 0.2, which both runs share


def test_a_verdict_rests_on_more_than_one_seeds_luck(measured):
    """All arms lead by 0.03 on average, and all intervals over test patients miss 0."""
    steady, lucky = {"steady": [0.73, 0.731, 0.729]}, {"lucky": [0.79, 0.70, 0.70]}

    def against(**arms):
        folders = _one_of(measured, reference=[0.7, 0.7, 0.7], **arms)
        table = claims.against_one_of(folders, "reference", PLACES).set_index("name")
        assert (table["low"] > 0).all()
        assert table["value"].to_list() == pytest.approx([0.03] * len(arms), abs=DRAWS_ARE_FLOAT32)
        assert ((table["low_with_seeds"] > 0) == (table["verdict"] == "better")).all()
        return table["verdict"].to_dict()

    assert against(**steady) == {"steady": "better"}
    assert against(**lucky) == {"lucky": "not distinguishable"}
    # how far seeds lie apart is told by all rows: three that agree are no proof beside three that do not
    assert set(against(**steady, **lucky).values()) == {"not distinguishable"}


def test_the_more_a_table_asks_the_more_a_verdict_needs(measured):
    arms = {f"arm {number}": [0.7 + 0.0003 * number] for number in range(12)}
    alone = _one_of(measured, reference=[0.7], close=[0.6935])
    among = alone | _one_of(measured, **arms)
    first, second = (claims.against_one_of(folders, "reference", PLACES) for folders in (alone, among))
    assert first.loc[0, "p"] == second.loc[0, "p"] == pytest.approx(first.loc[0, "p_adjusted"])
    assert first.loc[0, "verdict"] == "worse"
    assert second.loc[0, "verdict"] == "not distinguishable"
    assert (second["n_in_family"] == 13).all()
    assert second.loc[0, "p_adjusted"] <= 13 * second.loc[0, "p"]


def test_diverged_runs_are_counted_and_compare_with_nothing(measured):
    folders = _one_of(measured, reference=[0.7, 0.7, None], half=[0.8, None, 0.8], lost=[None, None, None])
    table = claims.against_one_of(folders, "reference", PLACES)
    assert table["name"].to_list() == ["half", "lost"]
    assert table["n_seeds"].to_list() == [1, 0]  # of two finished seeds, the reference has one
    assert table["n_diverged"].to_list() == [1, 3]
    assert table["verdict"].to_list() == ["better", "diverged"]
    assert math.isnan(table.loc[1, "value"])
    assert claims.against_one_of(_one_of(measured, reference=[0.7], lost=[None]), "reference", PLACES).shape[0] == 1


def _macro_by_run(study):
    metrics = metrics_table(study.folders, study.places)
    return one_metric(metrics, study.places.private_dataset, "auroc").query("group_column == 'all'")


def test_against_public_only_is_the_mean_difference_over_seeds(tiny_study):
    runs = runs_table(tiny_study.folders)
    table = claims.against_public_only(tiny_study.folders, runs, tiny_study.places)
    conditions = runs[runs["kind"] != "public_only"].drop_duplicates(["init_label", "kind", "target_epsilon"])
    assert table.columns.to_list() == ["init_label", "kind", "target_epsilon", *TESTED, "verdict"]
    assert len(table) == len(conditions) == table["n_in_family"].iloc[0]
    joined = _macro_by_run(tiny_study).merge(runs, on="run_id")
    reference = joined.loc[joined["kind"] == "public_only", "value"].item()
    label = "domain supervised (stand-in)"
    seeds = joined[(joined["init_label"] == label) & (joined["kind"] == "private")]["value"] - reference
    row = table[(table["init_label"] == label) & (table["kind"] == "private")].iloc[0]
    assert row["n_seeds"] == len(seeds) == 2
    assert row["value"] == pytest.approx(seeds.mean(), abs=DRAWS_ARE_FLOAT32)
    assert row["seed_sd"] == pytest.approx(seeds.std(), abs=DRAWS_ARE_FLOAT32)
    assert row["low"] <= row["value"] <= row["high"]


def test_order_finds_weights_in_a_file_wherever_they_lie(tiny_study):
    runs = runs_table(tiny_study.folders)
    names = [f"convnext_mini.file:/some/where/{number}.safetensors" for number in range(3)]
    runs["init_name"] = runs["init_name"].replace(
        {old: new.replace("/some/where/", "") for old, new in zip(tiny_study.init_names[-3:], names, strict=True)}
    )
    table = claims.order_of_initialisations(tiny_study.folders, runs, tiny_study.places, names)
    assert table["value"].notna().all()
    assert len(table) == 4  # two claims, with privacy and without


def test_order_compares_neighbours_in_the_expected_order(tiny_study):
    runs = runs_table(tiny_study.folders)
    table = claims.order_of_initialisations(tiny_study.folders, runs, tiny_study.places, tiny_study.init_names)
    assert table["claim"].unique().tolist() == [
        "non-domain self-supervised (stand-in) > non-domain supervised (stand-in)",
        "domain supervised (stand-in) > non-domain self-supervised (stand-in)",
    ]
    joined = _macro_by_run(tiny_study).merge(runs, on="run_id")
    means = joined[(joined["kind"] == "private") & (joined["head"] == "reset")].groupby("init_label")["value"].mean()
    first = table[(table["kind"] == "private")].iloc[0]
    better, worse = first["claim"].split(" > ")
    assert first["value"] == pytest.approx(means[better] - means[worse], abs=DRAWS_ARE_FLOAT32)
    assert first["n_seeds"] == 2
