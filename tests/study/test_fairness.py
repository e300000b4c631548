import math

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.evaluation.comparing.multiplicity import benjamini_hochberg
from dpcxr_core.evaluation.small_counts import TELLS_A_COUNT
from dpcxr_core.study import fairness
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.study.run_table import runs_table
from tests.study import DRAWS_ARE_FLOAT32

COLUMNS = ["sex", "age_band"]


@pytest.fixture(scope="module")
def runs(tiny_study):
    return runs_table(tiny_study.folders)


@pytest.fixture(scope="module")
def focus(tiny_study, runs):
    return fairness.strictest_and_without(tiny_study.folders, runs, tiny_study.init_names[-1])


@pytest.fixture(scope="module")
def metrics(tiny_study, focus):
    return metrics_table(focus, tiny_study.places)


def test_weights_in_a_file_are_found_wherever_they_lie(tiny_study, focus):
    runs = runs_table(tiny_study.folders)
    runs["init_name"] = runs["init_name"].replace(tiny_study.init_names[-1], "convnext_mini.file:mine.safetensors")
    asked = "convnext_mini.file:/home/ann/mine.safetensors"
    assert fairness.strictest_and_without(tiny_study.folders, runs, asked) == focus


def _same_values(ours, theirs):
    """The rows of ``theirs`` have the values of ``ours``, wherever both have a row."""
    keys = ["run_id", "dataset", "finding", "metric", "group_column", "group_value"]
    both = theirs.merge(ours, on=keys, suffixes=("", "_ours"))
    assert len(both)
    np.testing.assert_allclose(both["value"], both["value_ours"], rtol=0, atol=DRAWS_ARE_FLOAT32)


def test_focus_is_one_initialisation_with_a_new_head_at_two_levels_seed_by_seed(focus, runs, tiny_study):
    chosen = runs.set_index("run_id").loc[[folder.name for folder in focus]]
    assert chosen["seed"].to_list() == [0, 0, 1, 1]
    assert set(chosen["init_name"]) == {tiny_study.init_names[-1]}
    assert set(chosen["head"]) == {"reset"}
    assert chosen["kind"].value_counts().to_dict() == {"private": 2, "non_private": 2}


def test_tested_gaps_are_those_of_the_metrics_table_and_one_family(tiny_study, focus, metrics):
    home = tiny_study.places.private_dataset
    tests = fairness.tested_gaps(focus[:2], tiny_study.places, home, COLUMNS, n_permutations=19)
    assert set(tests["metric"]) == {"auroc_difference", "tpr_difference", "fpr_difference"}
    assert set(tests["group_column"]) == set(COLUMNS)
    assert tests["family"].nunique() == 1
    assert (tests["n_in_family"] == tests["p"].notna().sum()).all()
    np.testing.assert_allclose(tests["p_adjusted"], benjamini_hochberg(tests["p"]))
    _same_values(metrics, tests)
    nothing = fairness.tested_gaps(focus, tiny_study.places, None, COLUMNS, n_permutations=19)
    assert nothing.empty
    assert nothing.columns.to_list() == tests.columns.to_list()


def test_what_is_held_still_is_named_and_of_the_internal_test_set(tiny_study, focus, metrics):
    table = fairness.held_still(focus[:2], tiny_study.places, ["sex"])
    assert set(table["run_id"]) == {folder.name for folder in focus[:2]}
    assert set(table["dataset"]) == {tiny_study.places.private_dataset}
    ways = {"within AP", "within PA", "at equal prevalence", "at equal prevalence and age"}
    assert {f"sex {way}" for way in ways} <= set(table["group_column"])
    matched = table[table["group_column"] == "sex at equal prevalence"]
    ranking = matched["metric"].isin(["auroc", "tpr", "fpr"]) & matched["group_value"].isin(["F", "M"])
    _same_values(metrics, matched[ranking].assign(group_column="sex"))


def test_age_windows_of_every_run(tiny_study, focus):
    table = fairness.along_age(focus[:2], tiny_study.places)
    assert set(table["run_id"]) == {folder.name for folder in focus[:2]}
    assert set(table["group_column"]) == {"age_window"}
    assert table["value"].notna().any()


def test_movements_are_differences_of_the_gaps_in_the_metrics_table(tiny_study, runs):
    moved = fairness.gaps_moved_by_privacy(tiny_study.folders, runs, tiny_study.places, "auroc", "macro")
    assert set(moved["group_column"]) == {"sex", "age_band", "view"}
    joined = metrics_table(tiny_study.folders, tiny_study.places).merge(runs, on="run_id")
    gaps = joined[
        (joined["metric"] == "auroc_difference")
        & (joined["finding"] == "macro")
        & (joined["dataset"] == tiny_study.places.private_dataset)
        & (joined["head"] == "reset")
    ]
    for row in moved.to_dict("records"):
        mine = gaps[(gaps["init_label"] == row["init_label"]) & (gaps["group_column"] == row["group_column"])]
        by_kind = mine.groupby("kind")["value"].mean()
        if not math.isnan(row["value"]):
            assert row["value"] == pytest.approx(by_kind["private"] - by_kind["non_private"], abs=DRAWS_ARE_FLOAT32)
    assert moved["value"].notna().any()
    reference = runs.loc[runs["init_name"] == tiny_study.init_names[-1], "init_label"].iloc[0]
    changed = fairness.movements_changed_by_initialisation(
        tiny_study.folders, runs, tiny_study.places, "auroc", "macro", reference
    )
    wide = moved.pivot(index="group_column", columns="init_label", values="value")
    for row in changed.to_dict("records"):
        expected = wide.loc[row["group_column"], row["init_label"]] - wide.loc[row["group_column"], reference]
        assert row["value"] == pytest.approx(expected, abs=DRAWS_ARE_FLOAT32, nan_ok=True)
    assert changed["family"].unique().tolist() == ["movements changed by initialisation"]


def test_published_numbers_stand_beside_ours(tiny_study, focus, metrics):
    beside = fairness.beside_published(focus[0], tiny_study.places)
    assert set(beside["dataset"]) == {tiny_study.places.private_dataset}
    assert {"auroc", "auroc_range", "tpr_difference"} <= set(beside["metric"])
    withheld = beside["reason"] == TELLS_A_COUNT
    assert set(beside.loc[withheld, "metric"]) == {"ppv", "f1", "ppv_difference"}
    assert beside.loc[withheld, ["as_published", "sd", "low", "high", "value", "our_low"]].isna().all(axis=None)
    assert beside.loc[~withheld, "as_published"].notna().all()
    _same_values(metrics, pd.DataFrame(beside[beside["value"].notna()].assign(run_id=focus[0].name)))
