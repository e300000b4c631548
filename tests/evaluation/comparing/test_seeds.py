import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import EvaluationChoice, UserError
from dpcxr_core.evaluation.comparing.seeds import OTHER_SEED, over_seeds
from dpcxr_core.evaluation.evaluate import evaluate


def _rows(**columns):
    constant = {
        "dataset": "north",
        "finding": "macro",
        "metric": "auroc",
        "group_column": "all",
        "group_value": "all",
        "init_name": "convnext.random",
        "target_epsilon": 8.0,
        "noise_floor": np.nan,
        "n": 100,
        "n_positive": 20,
        "reason": "",
    }
    return pd.DataFrame({**constant, **columns})


def test_spread_between_seeds_stays_apart_from_sampling_error():
    metrics = _rows(seed=[0, 1, 2], value=[0.70, 0.76, 0.73], low=[0.66, 0.73, 0.69], high=[0.74, 0.79, 0.80])
    metrics["noise_floor"] = [0.01, 0.02, 0.03]
    row = over_seeds(metrics, by=["init_name", "target_epsilon"]).iloc[0]
    assert row["n_seeds"] == 3
    assert row["value"] == pytest.approx(0.73)
    assert (row["seed_min"], row["seed_max"]) == (0.70, 0.76)
    assert (row["low"], row["high"]) == (0.66, 0.80)
    assert row["noise_floor"] == pytest.approx(0.02)
    assert (row["n"], row["n_positive"], row["reason"]) == (100, 20, "")


def test_runs_without_privacy_are_a_group_of_their_own():
    metrics = _rows(seed=[0, 0, 1], target_epsilon=[8.0, np.nan, np.nan], value=[0.7, 0.8, 0.9], low=0.6, high=0.95)
    rows = over_seeds(metrics, by=["target_epsilon"])
    assert rows["n_seeds"].tolist() == [1, 2]
    assert rows["value"].tolist() == pytest.approx([0.7, 0.85])
    assert np.isnan(rows.loc[1, "target_epsilon"])


def test_a_value_undefined_for_some_seeds_is_undefined():
    metrics = _rows(seed=[0, 1], value=[0.7, np.nan], low=[0.6, np.nan], high=[0.8, np.nan], reason=["", "too few"])
    row = over_seeds(metrics, by=["init_name"]).iloc[0]
    assert np.isnan(row[["value", "seed_min", "seed_max", "low", "high"]].astype(float)).all()
    assert row["reason"] == "undefined for some seeds"
    row = over_seeds(metrics.iloc[1:], by=["init_name"]).iloc[0]
    assert row["reason"] == "too few"


def test_different_runs_are_not_mixed_as_seeds():
    metrics = _rows(seed=[0, 0], target_epsilon=[1.0, 8.0], value=0.7, low=0.6, high=0.8)
    with pytest.raises(UserError, match="Add to by"):
        over_seeds(metrics, by=["init_name"])
    assert len(over_seeds(metrics, by=["init_name", "target_epsilon"])) == 2


def test_missing_columns_are_named():
    metrics = _rows(value=[0.7], low=0.6, high=0.8)
    with pytest.raises(UserError, match="seed"):
        over_seeds(metrics, by=["init_name"])


def test_metrics_tables_of_two_seeds_come_together(make_tables):
    tables = []
    for seed in (0, 1):
        scores, cohort = make_tables(n_patients=60, score_seed=seed)
        tables.append(
            evaluate(scores, cohort, EvaluationChoice(n_resamples=5), {}).metrics.assign(seed=seed, init_name="a")
        )
    rows = over_seeds(pd.concat(tables), by=["init_name"])
    assert len(rows) == len(tables[0])
    assert (rows["n_seeds"] == 2).all()
    expected = (tables[0]["value"].to_numpy() + tables[1]["value"].to_numpy()) / 2
    np.testing.assert_allclose(rows["value"], expected, atol=1e-12)


def test_a_worst_group_that_differs_between_seeds_has_the_names_of_all():
    worst = _rows(metric="worst_group_auroc", seed=[0, 1, 2, 0, 1], target_epsilon=[8.0] * 3 + [np.nan] * 2)
    worst = worst.assign(value=0.7, low=0.6, high=0.8, reason=["F", "M", "F", "F", "F"])
    assert over_seeds(worst, by=["target_epsilon"])["reason"].tolist() == [f"F{OTHER_SEED}M", "F"]
