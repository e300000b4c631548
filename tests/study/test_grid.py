import re
from dataclasses import replace

import pytest

from dpcxr_core.accounting.certificate import certify
from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.study.grid import (
    TUNED_MECHANISM,
    Recipe,
    ablation_runs,
    chosen_on_simulated,
    comparison_runs,
    private_run,
    private_runs,
    public_only_run,
    recipe_from,
)

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


def test_a_fixed_learning_rate_takes_the_place_of_the_rule_and_weight_decay_reaches_private_runs():
    recipe = Recipe(optimizer="adamw", learning_rate=1e-5, private_weight_decay=0.02, weight_decay=0.3)
    runs = comparison_runs("sim-a", ["m.one"], SPECIFICATIONS, recipe, seeds=[0])
    found = {(run.kind, run.optimisation.learning_rate, run.optimisation.weight_decay) for run in runs}
    assert found == {("private", 1e-5, 0.02), ("non_private", recipe.ordinary_learning_rate, 0.3)}


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


def _ablations(**changes):
    plain = SPECIFICATIONS[8.0]
    mechanisms = {
        "plain": plain,
        "shuffled": replace(plain, sampler="shuffled"),
        "quiet": replace(plain, noise_multiplier=0),
    }
    return ablation_runs("sim-a", "m.one", mechanisms, Recipe(), learning_rate=0.65 / 0.8, seeds=[0, 1], **changes)


def test_ablations_differ_only_in_their_mechanism_and_what_it_promises():
    runs = _ablations()
    assert list(runs) == [(name, seed) for name in ("plain", "shuffled", "quiet") for seed in (0, 1)]
    assert {name: runs[name, 1].kind for name, _ in runs} == {
        "plain": "private",
        "shuffled": "ablation",
        "quiet": "ablation",
    }
    for (_, seed), run in runs.items():
        target = runs["plain", seed].target_epsilon if run.kind == "private" else None
        assert replace(runs["plain", seed], privacy=run.privacy, target_epsilon=target) == run


def test_target_of_an_ablation_that_promises_is_the_least_that_can_be_certified():
    target = _ablations()["plain", 0].target_epsilon
    assert certify(SPECIFICATIONS[8.0], 100, target).epsilon_pld > target - 1e-4


def test_ablation_with_a_named_target_is_the_run_of_the_comparison():
    run = _ablations(target_epsilons={"plain": 8.0})["plain", 1]
    assert run == private_run("sim-a", "m.one", 8.0, SPECIFICATIONS[8.0], Recipe(), seed=1)


@pytest.mark.parametrize("name", ["shuffled", "poisson"])
def test_target_for_what_promises_nothing_is_refused(name):
    with pytest.raises(UserError, match=name):
        _ablations(target_epsilons={name: 8.0})


def test_tuned_mechanism_is_that_of_the_table_the_recipe_was_chosen_from():
    """Without this, a mechanism that nobody measured under could be called the tuned one."""
    first_line = (PROJECT_FOLDER / "benchmarks/results/tune_recipe.txt").read_text().split("\n")[0]
    said = re.search(r": batch (\d+), (\d+) private steps, clip norm ([\d.]+), .* (\d+) ordinary steps;", first_line)
    assert said, first_line
    batch, n_steps, norm, ordinary_n_steps = said.groups()
    assert {
        "expected_batch_size": int(batch),
        "n_steps": int(n_steps),
        "max_grad_norm": float(norm),
    } == TUNED_MECHANISM
    assert Recipe().ordinary_n_steps == int(ordinary_n_steps)


def test_settings_count_as_chosen_on_simulated_patients_only_where_they_are_those():
    tuned = replace(SPECIFICATIONS[1.0], **TUNED_MECHANISM)
    louder = replace(tuned, noise_multiplier=9.0, sample_rate=0.7, delta=1e-4)
    for recipe in (Recipe(), Recipe(randomness="seeded"), Recipe(physical_batch_size=8)):
        assert chosen_on_simulated(recipe, [tuned, louder])
    for recipe in (
        Recipe(learning_rate_times_noise_multiplier=0.6),
        Recipe(ordinary_n_steps=20),
        Recipe(ema_decay=0.9),
    ):
        assert not chosen_on_simulated(recipe, [tuned])
    patients = {"privacy_unit": "patient", "max_images_per_patient": 4}
    for change in (
        {"expected_batch_size": 128},
        {"n_steps": 60},
        {"max_grad_norm": 1.0},
        {"clipping": "automatic"},
        patients,
    ):
        assert not chosen_on_simulated(Recipe(), [tuned, replace(tuned, **change)])
