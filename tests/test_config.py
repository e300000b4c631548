import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import (
    EvaluationChoice,
    OptimisationChoice,
    OrdinaryBatches,
    PrivacySpecification,
    RunConfig,
    UserError,
    content_key,
    run_config_from_dict,
)

SPECIFICATION = PrivacySpecification(
    sample_rate=0.1, n_steps=50, expected_batch_size=100, max_grad_norm=0.5, noise_multiplier=1.2, delta=1e-5
)
SGD = OptimisationChoice(optimizer="sgd", learning_rate=0.5)
PRIVATE = RunConfig(
    dataset="sim-a",
    init_name="convnext_mini.random",
    head="reset",
    optimisation=SGD,
    privacy=SPECIFICATION,
    target_epsilon=3.0,
)
ORDINARY = RunConfig(
    dataset="sim-a",
    init_name="convnext_mini.random",
    head="reset",
    optimisation=SGD,
    ordinary=OrdinaryBatches(n_steps=5, batch_size=4),
)
PUBLIC_ONLY = RunConfig(dataset="sim-a", init_name="convnext_mini.standin_domain", head="kept")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 0.0),
        ("sample_rate", 256),
        ("n_steps", 0),
        ("expected_batch_size", 0),
        ("max_grad_norm", 0.0),
        ("max_grad_norm", math.inf),
        ("noise_multiplier", -0.5),
        ("noise_multiplier", math.nan),
        ("delta", 0.0),
        ("delta", 1.0),
        ("sampler", "shuffle"),
        ("privacy_unit", "study"),
    ],
)
def test_privacy_specification_refuses_a_value_out_of_range_and_names_it(field, value):
    with pytest.raises(UserError, match=field):
        replace(SPECIFICATION, **{field: value})


def test_noise_std_is_multiplier_times_clip_norm():
    assert SPECIFICATION.noise_std == pytest.approx(0.6)


@pytest.mark.parametrize("config", [PRIVATE, ORDINARY, PUBLIC_ONLY])
def test_run_config_survives_the_round_trip_through_a_dict(config):
    assert run_config_from_dict(asdict(config)) == config


def test_kind_follows_from_what_the_run_trains_with():
    assert [each.kind for each in (PRIVATE, ORDINARY, PUBLIC_ONLY)] == [
        "private",
        "non_private",
        "public_only",
    ]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ordinary": OrdinaryBatches(n_steps=1, batch_size=1)}, "not both"),
        ({"target_epsilon": None}, "target_epsilon"),
        ({"optimisation": None}, "optimisation"),
        ({"head": "new"}, "head"),
        ({"seed": -1}, "seed"),
        ({"randomness": "none"}, "randomness"),
    ],
)
def test_run_config_refuses_choices_that_contradict_each_other(changes, named):
    with pytest.raises(UserError, match=named):
        replace(PRIVATE, **changes)


def test_public_only_run_needs_the_kept_head():
    with pytest.raises(UserError, match="kept"):
        replace(PUBLIC_ONLY, head="reset")


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(derandomize=True, max_examples=50)
def test_content_key_differs_exactly_when_the_content_does(first, second):
    same = content_key(replace(PRIVATE, seed=first)) == content_key(replace(PRIVATE, seed=second))
    assert same == (first == second)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"n_resamples": 0}, "n_resamples.*0"),
        ({"seed": -1}, "seed.*-1"),
        ({"age_band_edges": (0, 120)}, "rising"),
        ({"age_band_edges": (0, 70, 40, 120)}, "rising"),
        ({"age_band_edges": (0, 0.5, 120)}, "whole years"),
        ({"group_columns": ("sex", "view", "sex")}, "once"),
        ({"group_columns": ("all",)}, "always there"),
        ({"threshold_rule": "best"}, "youden, fixed_tpr, max_f1; got 'best'"),
        ({"fixed_tpr": 1.0}, "fixed_tpr"),
        ({"n_calibration_bins": 1}, "2 to 100"),
        ({"n_calibration_bins": 101}, "2 to 100"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(wrong, named):
    with pytest.raises(UserError, match=named):
        EvaluationChoice(**wrong)


@pytest.mark.parametrize(
    ("field", "value"), [("train_fraction", 0.0), ("train_fraction", 1.5), ("normalisation", "imagenet")]
)
def test_run_refuses_a_share_or_normalisation_that_there_is_not(field, value):
    with pytest.raises(UserError, match=field):
        replace(PRIVATE, **{field: value})


def test_record_from_before_shares_and_normalisation_is_of_all_patients_and_of_the_weights():
    before = {name: value for name, value in asdict(PRIVATE).items() if name not in ("train_fraction", "normalisation")}
    assert run_config_from_dict(before) == PRIVATE
