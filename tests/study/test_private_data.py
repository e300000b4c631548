import math

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.evaluation.comparing.paired import LEVEL
from dpcxr_core.study.private_data import against_public_only, kept_minus_reset
from tests.study.conftest import OFF, TWICE_OFF, cells_frame

PUBLIC_ONLY = {"initialisation": "mimic", "head": "kept", "target_epsilon": math.nan, "auroc": 0.75}


def _truth():
    trained = cells_frame(
        {"initialisation": "mimic", "target_epsilon": 8.0, "auroc": 0.70},
        {"initialisation": "mimic", "target_epsilon": 8.0, "head": "kept", "auroc": 0.80},
        {"initialisation": "mimic", "target_epsilon": 8.0, "fraction": 0.5, "grids": "scale", "auroc": 0.65},
        {"initialisation": "dino", "target_epsilon": 8.0, "auroc": 0.75},
        {"initialisation": "dino", "target_epsilon": 8.0, "unit": "patient", "grids": "patients", "auroc": 0.2},
        seed=(0, 1, 2),
    )
    return pd.concat([trained, cells_frame(PUBLIC_ONLY)])


def test_each_condition_is_held_against_the_public_only_model(study_of):
    table = against_public_only(study_of(_truth())).set_index(["initialisation", "head", "fraction"])
    assert table["value"].to_dict() == pytest.approx(
        {
            ("mimic", "reset", 1.0): -0.05,
            ("mimic", "kept", 1.0): 0.05,
            ("mimic", "reset", 0.5): -0.10,
            ("dino", "reset", 1.0): 0.0,
        },
        abs=TWICE_OFF,
    )
    assert table["verdict"].to_list() == ["worse", "better", "worse", "not distinguishable"]
    assert set(table["public_only"]) == {"mimic"}
    assert set(table["n_seeds"]) == {3}
    assert set(table["n_in_family"]) == {4}


def test_each_network_and_data_set_has_its_own_public_only_model(study_of):
    truth = _truth()
    elsewhere = study_of(pd.concat([truth, truth.assign(dataset="south", auroc=truth["auroc"] - 0.1)]))
    table = against_public_only(elsewhere)
    assert table.groupby("dataset").size().to_dict() == {"north": 4, "south": 4}
    south = table.query("dataset == 'south' and head == 'kept'")["value"].item()
    assert south == pytest.approx(0.05, abs=TWICE_OFF)
    both = pd.concat([truth, cells_frame({**PUBLIC_ONLY, "initialisation": "other"})])
    assert against_public_only(study_of(both))["public_only"].value_counts().to_dict() == {"mimic": 4, "other": 4}


def test_a_head_is_kept_or_new_in_the_same_condition_and_seed(study_of):
    truth = _truth()
    table = kept_minus_reset(study_of(truth))
    assert table[["initialisation", "fraction", "n_seeds"]].to_numpy().tolist() == [["mimic", 1.0, 3]]
    assert table["value"].item() == pytest.approx(0.10, abs=OFF)
    truth["has_run"] = ~((truth["head"] == "kept") & (truth["seed"] == 1) & truth["target_epsilon"].notna())
    assert kept_minus_reset(study_of(truth))["n_seeds"].to_list() == [2]


def test_what_did_not_run_has_no_row(study_of):
    truth = _truth()
    truth["has_run"] = truth["target_epsilon"].notna()
    assert against_public_only(study_of(truth)).empty
    truth["has_run"] = False
    assert kept_minus_reset(study_of(truth)).empty


def test_where_private_data_do_nothing_a_table_rarely_has_a_false_verdict(study_of):
    """60 studies of 20 comparisons; the wrong version leaves out Holm's correction."""
    rng, n_studies, false, uncorrected = np.random.default_rng(3), 60, 0, 0
    truth = pd.concat([_truth().assign(dataset=name, auroc=0.75) for name in "abcde"])
    for _ in range(n_studies):
        table = against_public_only(study_of(truth, rng=rng, seeds=0))  # a public-only model is as it is
        false += set(table["verdict"]) != {"not distinguishable"}
        uncorrected += (table["p"] <= LEVEL).any()
    z = (np.array([false, uncorrected]) / n_studies - LEVEL) / math.sqrt(LEVEL * (1 - LEVEL) / n_studies)
    assert z[0] < 5 < z[1]
