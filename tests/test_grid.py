import pytest

from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.grid import Recipe, comparison_runs, private_runs, public_only_run, recipe_from

SPECIFICATIONS = {
    epsilon: PrivacySpecification(
        sample_rate=0.1,
        n_steps=10,
        expected_batch_size=10,
        max_grad_norm=0.5,
        noise_multiplier=noise,
        delta=1e-5,
    )
    for epsilon, noise in ((1.0, 3.0), (8.0, 0.8))
}


def test_comparison_runs_differ_only_in_what_is_compared():
    runs = comparison_runs("sim-a", ["m.one", "m.two"], SPECIFICATIONS, Recipe(), seeds=[0, 1])
    assert len(runs) == 2 * 2 * (len(SPECIFICATIONS) + 1)
    assert len(set(runs)) == len(runs)
    at_eight = {run.init_name: run for run in runs if run.target_epsilon == 8.0 and run.seed == 0}
    assert at_eight["m.one"].privacy == at_eight["m.two"].privacy
    assert at_eight["m.one"].optimisation == at_eight["m.two"].optimisation


def test_private_learning_rate_falls_with_noise():
    runs = comparison_runs(
        "sim-a", ["m.one"], SPECIFICATIONS, Recipe(learning_rate_times_noise_multiplier=0.6), seeds=[0]
    )
    rates = {run.target_epsilon: run.optimisation.learning_rate for run in runs if run.kind == "private"}
    assert rates == pytest.approx({1.0: 0.2, 8.0: 0.75})


def test_recipe_keeps_randomness_secret_unless_told_otherwise():
    assert recipe_from({}).randomness == "secret"
    assert recipe_from({"randomness": "seeded"}).randomness == "seeded"


def test_recipe_reaches_the_runs_it_is_for():
    recipe = recipe_from({"augmentation_multiplicity": 4, "ema_decay": 0.9, "precision": "bfloat16"})
    runs = comparison_runs("sim-a", ["m.one"], SPECIFICATIONS, recipe, seeds=[0])
    private = [run for run in runs if run.kind == "private"]
    ordinary = [run for run in runs if run.kind == "non_private"]
    assert {(run.augmentation_multiplicity, run.ema_decay, run.precision) for run in private} == {(4, 0.9, "bfloat16")}
    assert {(run.augmentation_multiplicity, run.ema_decay, run.precision) for run in ordinary} == {(1, 0.0, "bfloat16")}


def test_default_recipe_is_that_of_the_plainest_run():
    (run,) = private_runs("sim-a", "m.one", {8.0: SPECIFICATIONS[8.0]}, Recipe(), seeds=[0])
    assert (run.augmentation_multiplicity, run.ema_decay, run.precision) == (1, 0.0, "float32")


def test_unknown_or_senseless_field_of_a_recipe_is_named():
    with pytest.raises(UserError, match="'lr'"):
        recipe_from({"lr": 1.0})
    with pytest.raises(UserError, match="ordinary_n_steps"):
        recipe_from({"ordinary_n_steps": 0})


def test_public_only_run_trains_on_nothing():
    assert public_only_run("sim-a", "m.domain").kind == "public_only"
