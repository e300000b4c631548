"""What cells cost, against sums by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import EvaluationChoice
from dpcxr_core.evaluation.draws import DRAWN_METRICS
from dpcxr_core.planning.cells import cells_of
from dpcxr_core.planning.costs import (
    N_DRAWN,
    SECONDS_PER_JOB,
    SUMMED,
    WATTS_PER_GPU,
    cost_table,
    costs_by,
    n_groups,
    store_table,
)
from dpcxr_core.planning.measured_speed import checked_per_second, evaluated_per_second, speed_of
from dpcxr_core.planning.set_sizes import set_size

PADCHEST = {"north": {"data_source": "padchest", "source_dir": "nowhere", "public_fraction": 0, "image_size": 224}}
MIMIC = {"data_source": "mimic_cxr_jpg", "source_dir": "nowhere", "public_fraction": 0}
REAL = {
    "data": PADCHEST,
    "pretraining_data": {},
    "initialisations": {"imagenet": {"weights": "fb_in1k"}},
    "own_heads": [],
    "architectures": ["convnext_tiny"],
    "epsilons": [1],
    "seeds": [0],
}
MECHANISM = {"delta": 1e-6, "expected_batch_size": 1024, "max_grad_norm": 1.0}


def _only(study, **wanted) -> pd.Series:
    """The cost of the one cell of these fields."""
    cells = cells_of(study)
    chosen = [all(getattr(cell, name) == value for name, value in wanted.items()) for cell in cells]
    (row,) = cost_table(cells, study)[chosen].to_dict("records")
    return pd.Series(row)


def test_private_run_on_a_core_is_its_images_at_the_measured_speed(study_with):
    study = study_with(data={"sim-a": {"data_source": "simulated"}})
    cost = _only(study, initialisation="random", target_epsilon=1.0, seed=0)
    size = set_size(study.data["sim-a"])
    scored = size.held_out + size.further
    speed = speed_of("convnext_mini", 48, "private", "float32", on_gpu=False)
    assert cost["images_trained"] == 24 * 256
    assert cost["images_scored"] == scored == 400 + 3000 + 4 * (400 + 600) + 600
    checked = (2400 + 400 + 3000) * 48**2 / checked_per_second()  # every byte of its store, before the first step
    expected = 24 * 256 * speed.training + scored * speed.scoring + checked + SECONDS_PER_JOB
    assert cost["seconds"] == pytest.approx(expected)
    assert cost["gpu_hours"] == 0
    tested = size.test + size.further
    assert 3600 * cost["core_hours"] == pytest.approx(cost["seconds"] + tested * 301 / evaluated_per_second())


def test_run_without_privacy_sees_the_recipes_batches(study_with):
    study = study_with(recipe={"ordinary_n_steps": 7, "ordinary_batch_size": 11})
    cost = _only(study, dataset="sim-a", initialisation="random", target_epsilon=math.inf, seed=0)
    assert cost["images_trained"] == 77


def test_public_model_trains_on_nothing_and_scores_as_much_as_the_others(study_with):
    study = study_with()
    public = _only(study, dataset="sim-a", target_epsilon=None)
    private = _only(study, dataset="sim-a", initialisation="random", target_epsilon=1.0, seed=0)
    assert public["images_trained"] == 0
    assert public["images_scored"] == private["images_scored"]
    speed = speed_of("convnext_mini", 48, "ordinary", "float32", on_gpu=False)
    assert public["seconds"] == pytest.approx(public["images_scored"] * speed.scoring + SECONDS_PER_JOB)


def test_cell_scores_the_held_out_images_of_every_target(study_with):
    study = study_with()
    own, other = (set_size(study.data[name]) for name in ("north", "sim-a"))
    cost = _only(study, dataset="north", initialisation="random", target_epsilon=1.0, seed=0)
    assert cost["images_scored"] == pytest.approx(own.held_out + other.held_out)


def test_passes_cost_as_many_steps_as_the_share_of_the_training_patients_asks_for(study_with):
    study = study_with(**REAL, mechanism=MECHANISM | {"expected_passes": 30.0}, fractions=[0.1, 1])
    whole, tenth = (_only(study, fraction=fraction)["images_trained"] for fraction in (1.0, 0.1))
    train = set_size(study.data["north"]).train
    assert whole == pytest.approx(30 * train, abs=1024)
    assert tenth == pytest.approx(3 * train, abs=1024)


def test_patient_brings_its_images_up_to_the_limit(study_with):
    size = set_size(study_with(**REAL).data["north"])
    assert 1.5 < size.train / size.patients < 2  # PadChest, counted
    for limit, per_patient in ((1, 1.0), (4, size.train / size.patients)):
        mechanism = MECHANISM | {"n_steps": 10, "max_images_per_patient": limit}
        study = study_with(**REAL, mechanism=mechanism, units=["patient"])
        assert _only(study)["images_trained"] == pytest.approx(10 * 1024 * per_patient)


def test_patients_that_nobody_counted_bring_as_many_images_as_may_enter(study_with):
    mechanism = MECHANISM | {"n_steps": 10, "max_images_per_patient": 4}
    study = study_with(**REAL | {"data": {"south": MIMIC}}, mechanism=mechanism, units=["patient"])
    assert _only(study)["images_trained"] == 10 * 1024 * 4


def test_gpu_hours_and_energy_are_of_the_large_networks(study_with):
    cost = _only(study_with(**REAL))
    assert cost["device"] == "GPU"
    assert cost["gpu_hours"] == pytest.approx(cost["seconds"] / 3600)
    assert cost["kwh"] == pytest.approx(cost["gpu_hours"] * WATTS_PER_GPU / 1000, rel=0.05)  # little on cores
    assert cost["basis"].startswith("assumed")


def test_own_images_cost_what_nobody_knows_yet_and_the_sum_says_so(study_with):
    own = {"mine": {"data_source": "own", "manifest": "mine.yml", "public_fraction": 0}}
    data = {**own, "sim-a": {"data_source": "simulated"}}
    study = study_with(
        data=data,
        mechanism=MECHANISM | {"expected_passes": 3.0},
        initialisations={"r": {"weights": "random"}},
        own_heads=[],
        pretraining_data={},
    )
    costs = cost_table(cells_of(study), study)
    mine = costs[costs["dataset"] == "mine"]
    assert mine["seconds"].isna().all()
    assert mine["basis"].str.contains("not known before the hospital's tables are read").all()
    assert np.isnan(costs_by(costs, "dataset").loc["all", "seconds"])


def test_sums_are_of_every_cell_once(study_with):
    study = study_with(ablations={"more": {"epsilons": [1, 8]}})
    costs = cost_table(cells_of(study), study)
    by_grid = costs_by(costs, "grid")
    assert list(by_grid.index) == ["main", "more", "all"]  # cells that both ask for are of the first
    assert by_grid.loc["all", "cells"] == len(costs) == by_grid.loc[["main", "more"], "cells"].sum()
    for name in SUMMED:
        assert by_grid.loc["all", name] == pytest.approx(costs[name].sum())


def test_stores_are_of_every_data_set_once(study_with):
    study = study_with(data=PADCHEST, pretraining_data={"mimic": MIMIC | {"image_size": 224}})
    stores = store_table(cells_of(study), study).set_index("dataset")
    assert list(stores.index) == ["mimic", "north"]
    assert stores.loc["north", "disk_bytes"] == pytest.approx((76534 + 11079 + 22047) * 224**2)


def test_simulated_set_beside_a_real_one_made_in_two_ways_is_stored_once(study_with):
    study = study_with(ablations={"old": {"image_recipe": "as_published"}})
    stores = store_table(cells_of(study), study)
    recipes = stores.groupby("dataset")["image_recipe"].agg(list).to_dict()
    assert recipes["sim-a"] == ["corrected"]
    assert recipes["north"] == ["corrected", "as_published"]


def test_groups_are_those_of_the_evaluation():
    assert n_groups(EvaluationChoice()) == 1 + 2 + 3 + 6 + 2
    assert n_groups(EvaluationChoice(group_columns=("sex", "insurance"))) == 1 + 2 + 4
    assert len(DRAWN_METRICS) == N_DRAWN
