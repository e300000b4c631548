from dataclasses import replace

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.planning.grid import Grid, InitialisationChoice, Mechanism

MECHANISM = Mechanism(delta=1e-5, expected_batch_size=100, max_grad_norm=0.5, n_steps=24)
GRID = Grid(
    data=("a",), initialisations=("x", "y"), architectures=("convnext_mini",), epsilons=(8.0,), mechanism=MECHANISM
)


def test_steps_are_stated_or_follow_from_the_passes():
    assert MECHANISM.steps(10_000) == 24
    by_passes = replace(MECHANISM, n_steps=None, expected_passes=30.0)
    assert [by_passes.steps(n) for n in (1_000, 1_001, 1_002, 1)] == [300, 300, 301, 1]


def test_weights_are_named_for_a_network():
    assert InitialisationChoice(weights="fb_in1k").weights_name("convnext_tiny") == "convnext_tiny.fb_in1k"
    in_a_file = InitialisationChoice(weights="file:/w/{architecture}.pt")
    assert in_a_file.weights_name("convnext_tiny") == "convnext_tiny.file:/w/convnext_tiny.pt"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"expected_passes": 3.0}, "either n_steps or expected_passes"),
        ({"n_steps": None}, "either n_steps or expected_passes"),
        ({"delta": 1.0}, "delta"),
        ({"max_grad_norm": 0.0}, "max_grad_norm"),
        ({"n_steps": 0}, "n_steps"),
        ({"max_images_per_patient": 0}, "max_images_per_patient"),
    ],
)
def test_mechanism_that_makes_no_sense_is_refused_by_name(changes, named):
    with pytest.raises(UserError, match=named):
        replace(MECHANISM, **changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epsilons": ()}, "epsilons must list"),
        ({"seeds": (0, 0)}, "seeds must list .* each once"),
        ({"epsilons": (0.0,)}, "epsilons must be positive"),
        ({"epsilons": (float("nan"),)}, "epsilons must be positive"),
        ({"fractions": (1.5,)}, "fractions"),
        ({"seeds": (-1,)}, "seeds must not be negative"),
        ({"own_heads": ("z",)}, "own_heads names 'z'; known are x, y"),
    ],
)
def test_grid_that_makes_no_sense_is_refused_by_name(changes, named):
    with pytest.raises(UserError, match=named):
        replace(GRID, **changes)


def test_initialisation_has_weights_or_is_trained():
    assert InitialisationChoice(weights="standin_domain").is_standin
    assert not InitialisationChoice(trained_on="mimic", start="imagenet").is_standin
    for wrong in ({}, {"weights": "random", "trained_on": "mimic"}, {"trained_on": "mimic"}, {"start": "x"}):
        with pytest.raises(UserError, match="from|weights or trained_on"):
            InitialisationChoice(**wrong)
