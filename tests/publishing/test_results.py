import math

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.small_counts import TELL_A_SHARE, TELLS_A_COUNT, without_small_cells
from dpcxr_core.publishing.results import level_names, metrics_with_runs
from tests.publishing.conftest import make_metrics, make_runs


def test_every_metric_meets_its_run(results):
    metrics, runs = results
    joined = metrics_with_runs(metrics, runs)
    assert len(joined) == len(metrics)
    expected = runs.set_index("run_id")["init_label"]
    assert (joined["init_label"].to_numpy() == expected.loc[joined["run_id"]].to_numpy()).all()


@pytest.mark.parametrize("column", ["n", "n_positive"])
def test_small_cells_lose_value_and_interval_but_ten_stay(results, column):
    metrics = results[0].head(2).copy()
    metrics[column] = [9, 10]
    table = without_small_cells(metrics)
    assert np.isnan(table.loc[0, ["value", "low", "high"]].to_numpy(dtype=float)).all()
    assert table.loc[0, "reason"] == "fewer than 10 images or positives"
    assert table.loc[1, "value"] == metrics.loc[1, "value"]


def test_metrics_tell_no_hidden_share_of_positives():
    runs = make_runs()
    metrics = make_metrics(runs, tests=("hospital_a",))
    small = (metrics["group_value"] == "AP") & (metrics["finding"] == "pneumonia")
    for count, hidden in ((9, True), (10, False)):
        joined = metrics_with_runs(metrics.assign(n_positive=metrics["n_positive"].mask(small, count)), runs)
        women = joined[(joined["group_value"] == "F") & joined["metric"].isin(TELL_A_SHARE)]
        assert (women["value"].isna() == hidden).all()
        assert ((women["reason"] == TELLS_A_COUNT) == hidden).all()


def test_two_runs_of_one_condition_and_seed_are_refused(results):
    metrics, runs = results
    runs.loc[1, "seed"] = runs.loc[0, "seed"]
    with pytest.raises(UserError, match="share training data, architecture, initialisation"):
        metrics_with_runs(metrics, runs)


def test_metric_of_an_unknown_run_is_refused(results):
    metrics, runs = results
    with pytest.raises(UserError, match="lacks the runs"):
        metrics_with_runs(metrics, runs.iloc[1:])


def test_missing_column_and_unknown_kind_are_refused(results):
    metrics, runs = results
    with pytest.raises(UserError, match="init_label"):
        metrics_with_runs(metrics, runs.drop(columns="init_label"))
    with pytest.raises(UserError, match="kind must be one of"):
        metrics_with_runs(metrics, runs.assign(kind="secret"))


def test_levels_of_rows_are_words():
    rows = pd.DataFrame(
        [(8.0, "private"), (math.nan, "non_private"), (math.nan, "public_only"), (math.nan, "before_training")],
        columns=["target_epsilon", "kind"],
    )
    assert level_names(rows) == ["epsilon 8", "no privacy", "public data only", "before training"]
