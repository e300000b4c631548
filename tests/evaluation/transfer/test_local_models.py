import numpy as np
import pandas as pd
import pytest

from dpcxr_core.evaluation.draws import Draws
from dpcxr_core.evaluation.transfer.local_models import behind_local_models


def _draws(run_id, dataset, auroc):
    noise = np.random.default_rng([*dataset.encode()]).normal(0, 0.02, 201)
    noise[0] = 0
    values = np.column_stack([auroc + noise, auroc + noise])[:, np.newaxis].astype(np.float32)
    return Draws(run_id, dataset, ("pneumonia", "macro"), (("all", "all"),), {"auroc": values}, np.full((1, 2), 500))


@pytest.fixture
def draws():
    aurocs = {"a": {"a": 0.9, "b": 0.7, "d": 0.6}, "b": {"a": 0.8, "b": 0.75, "d": 0.6}}
    return {run: {name: _draws(run, name, each) for name, each in row.items()} for run, row in aurocs.items()}


def test_each_model_stands_beside_the_one_trained_where_it_is_tested(draws):
    runs = pd.DataFrame({"run_id": ["a", "b"], "train_dataset": ["a", "b"], "seed": 0})
    table = behind_local_models(draws, runs).set_index(["train_dataset", "dataset"])
    assert table["value"].to_dict() == pytest.approx({("a", "b"): 0.05, ("b", "a"): 0.1}, abs=1e-6)
    # both score the same patients: what makes a resample hard for both cancels
    assert table.loc[("a", "b"), "high"] - table.loc[("a", "b"), "low"] < 1e-6
    assert ("a", "d") not in table.index


def test_other_seeds_are_not_paired_and_one_hospital_has_no_row(draws):
    runs = pd.DataFrame({"run_id": ["a", "b"], "train_dataset": ["a", "b"], "seed": [0, 1]})
    assert behind_local_models(draws, runs).empty
    assert behind_local_models(draws, runs[:1]).empty
