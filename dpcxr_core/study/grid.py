"""The runs of a comparison: initialisations x epsilons x seeds, under one recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from dpcxr_core.accounting.solving import epsilon_rounded_up
from dpcxr_core.config import (
    OptimisationChoice,
    OrdinaryBatches,
    PrivacySpecification,
    RunConfig,
    UserError,
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How every run of a comparison trains, so that only the compared choices differ.

    Attributes:
        optimizer: Of the private runs, "sgd" or "adamw".
        learning_rate_times_noise_multiplier: The private learning rate is this number divided by the noise
            multiplier: more noise, smaller steps, one rule for every initialisation.
        learning_rate: Of the private runs, in place of that rule; None to keep it.
        private_weight_decay: Of the private runs; decoupled with AdamW.
        ordinary_learning_rate: Of the runs without privacy, which use AdamW.
        ordinary_n_steps: Updates of the runs without privacy.
        ordinary_batch_size: Images of one such update.
        weight_decay: Of the runs without privacy, decoupled.
        max_shift: Augmentation, in pixels.
        augmentation_multiplicity: Shifted copies of each drawn image whose gradients are averaged before clipping;
            private runs only, as runs without privacy have no gradient of one image.
        ema_decay: Decay of the moving average of the weights that is released in place of the last weights; of the
            private runs, whose single weights are noisy. 0 for none.
        precision: "float32", or "bfloat16" for forward and backward under autocast.
        physical_batch_size: Images processed at once.
        randomness: "secret" for images that need protection; "seeded" repeats exactly, for public or
            simulated ones.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate_times_noise_multiplier: float = 0.65
    learning_rate: float | None = None
    private_weight_decay: float = 0.0
    ordinary_learning_rate: float = 3e-3
    ordinary_n_steps: int = 600
    ordinary_batch_size: int = 32
    weight_decay: float = 0.01
    max_shift: int = 3
    augmentation_multiplicity: int = 1
    ema_decay: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    physical_batch_size: int = 128
    randomness: Literal["secret", "seeded"] = "secret"

    @property
    def needs_protection(self) -> bool:
        """Whether the images do: then nothing is trained or shown that no certificate covers."""
        return self.randomness == "secret"

    def __post_init__(self) -> None:
        for name in ("learning_rate_times_noise_multiplier", "ordinary_learning_rate", "ordinary_n_steps"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be positive; got {getattr(self, name)}")


# the mechanism under which ``benchmarks.tune_recipe`` chose the default recipe, on simulated patients no chapter draws
TUNED_MECHANISM: dict[str, Any] = {"expected_batch_size": 256, "n_steps": 24, "max_grad_norm": 0.5}


def chosen_on_simulated(recipe: Recipe, specifications: Iterable[PrivacySpecification]) -> bool:
    """Whether these settings are those chosen by ``benchmarks.tune_recipe``, at no cost to any private image.

    Where they are not, nothing is known about how they were chosen. Of the recipe, ``randomness`` and
    ``physical_batch_size`` may differ: what is learnt does not depend on them.
    """
    default = Recipe(randomness=recipe.randomness, physical_batch_size=recipe.physical_batch_size)
    mechanism = TUNED_MECHANISM | {"privacy_unit": "image", "clipping": "flat"}
    return recipe == default and all(
        getattr(each, name) == value for each in specifications for name, value in mechanism.items()
    )


def recipe_from(changes: Mapping[str, Any]) -> Recipe:
    """The default recipe with ``changes``, by field.

    Raises:
        UserError: A field is unknown or its value makes no sense.
    """
    known = [field.name for field in fields(Recipe)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise UserError(f"a recipe has no {unknown}; its fields are {known}")
    return Recipe(**changes)


def private_run(
    dataset: str,
    init_name: str,
    target_epsilon: float,
    specification: PrivacySpecification,
    recipe: Recipe,
    *,
    head: Literal["reset", "kept"] = "reset",
    seed: int = 0,
) -> RunConfig:
    """The private run of one initialisation at one epsilon."""
    by_rule = recipe.learning_rate_times_noise_multiplier / specification.noise_multiplier
    learning_rate = by_rule if recipe.learning_rate is None else recipe.learning_rate
    return _run_under(dataset, init_name, target_epsilon, specification, recipe, learning_rate, head, seed)


def _run_under(
    dataset: str,
    init_name: str,
    target_epsilon: float | None,
    specification: PrivacySpecification,
    recipe: Recipe,
    learning_rate: float,
    head: Literal["reset", "kept"],
    seed: int,
) -> RunConfig:
    return RunConfig(
        dataset=dataset,
        init_name=init_name,
        head=head,
        optimisation=OptimisationChoice(
            optimizer=recipe.optimizer, learning_rate=learning_rate, weight_decay=recipe.private_weight_decay
        ),
        privacy=specification,
        target_epsilon=target_epsilon,
        max_shift=recipe.max_shift,
        augmentation_multiplicity=recipe.augmentation_multiplicity,
        ema_decay=recipe.ema_decay,
        precision=recipe.precision,
        physical_batch_size=recipe.physical_batch_size,
        randomness=recipe.randomness,
        seed=seed,
    )


def ordinary_run(
    dataset: str, init_name: str, recipe: Recipe, *, head: Literal["reset", "kept"] = "reset", seed: int = 0
) -> RunConfig:
    """The run of one initialisation without privacy."""
    return RunConfig(
        dataset=dataset,
        init_name=init_name,
        head=head,
        optimisation=OptimisationChoice(
            optimizer="adamw",
            learning_rate=recipe.ordinary_learning_rate,
            beta2=0.99,
            weight_decay=recipe.weight_decay,
        ),
        ordinary=OrdinaryBatches(n_steps=recipe.ordinary_n_steps, batch_size=recipe.ordinary_batch_size),
        max_shift=recipe.max_shift,
        precision=recipe.precision,
        physical_batch_size=recipe.physical_batch_size,
        seed=seed,
    )


def public_only_run(dataset: str, init_name: str) -> RunConfig:
    """The public model with its own head: no private image is used at all."""
    return RunConfig(dataset=dataset, init_name=init_name, head="kept")


def private_runs(
    dataset: str,
    init_name: str,
    specifications: Mapping[float, PrivacySpecification],
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    head: Literal["reset", "kept"] = "reset",
) -> list[RunConfig]:
    """One initialisation at every epsilon, once a seed."""
    return [
        private_run(dataset, init_name, epsilon, specification, recipe, head=head, seed=seed)
        for seed in seeds
        for epsilon, specification in specifications.items()
    ]


def comparison_runs(
    dataset: str,
    init_names: Sequence[str],
    specifications: Mapping[float, PrivacySpecification],
    recipe: Recipe,
    *,
    seeds: Sequence[int],
) -> list[RunConfig]:
    """Every initialisation, its head reset, at every epsilon and without privacy, once a seed."""
    runs = []
    for init_name in init_names:
        runs += private_runs(dataset, init_name, specifications, recipe, seeds=seeds)
        runs += [ordinary_run(dataset, init_name, recipe, seed=seed) for seed in seeds]
    return runs


def ablation_runs(
    dataset: str,
    init_name: str,
    specifications: Mapping[str, PrivacySpecification],
    recipe: Recipe,
    *,
    learning_rate: float,
    seeds: Sequence[int],
    target_epsilons: Mapping[str, float] | None = None,
    head: Literal["reset", "kept"] = "reset",
) -> dict[tuple[str, int], RunConfig]:
    """One initialisation under several mechanisms, whether they promise anything or not, all else alike.

    Args:
        dataset: Name of the data set trained on.
        init_name: Full name of the initialisation.
        specifications: The mechanisms, by the name of each in the comparison.
        recipe: How every run trains.
        learning_rate: Of every run, in place of the recipe's rule, which would divide by the noise multiplier.
        seeds: Each run is repeated once a seed.
        target_epsilons: Of mechanisms that promise, by name, so that a run of another chapter is found again; one
            that promises and is not named here gets its epsilon by PLD, rounded up to four decimals.
        head: "reset" or "kept".

    Returns:
        The runs by (name, seed).

    Raises:
        UserError: A target is named for a mechanism that is not there or promises nothing.
    """
    targets = dict(target_epsilons or {})
    senseless = sorted(name for name in targets if name not in specifications or not specifications[name].promises)
    if senseless:
        raise UserError(f"target_epsilons names {senseless}, which are not among the mechanisms that promise something")
    for name, each in specifications.items():
        if each.promises and name not in targets:
            targets[name] = epsilon_rounded_up(*each.accounted)
    return {
        (name, seed): _run_under(dataset, init_name, targets.get(name), each, recipe, learning_rate, head, seed)
        for name, each in specifications.items()
        for seed in seeds
    }
