"""Sentences whose every number comes from a table of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from dpcxr_core.accounting.tuning import TuningCost
from dpcxr_core.config import PrivacySpecification, RunConfig
from dpcxr_core.evaluation.comparing.delong import PairedTest
from dpcxr_core.evaluation.comparing.paired import LEVEL
from dpcxr_core.publishing.results import epsilon_label
from dpcxr_core.publishing.tables import show_p, with_interval
from dpcxr_core.training.record import RunRecord


def against_public_only(differences: pd.DataFrame) -> str:
    """How many private conditions beat the public-only model, and which do not."""
    private = differences[differences["kind"] == "private"]
    counts = private["verdict"].value_counts()
    better, worse = int(counts.get("better", 0)), int(counts.get("worse", 0))
    undecided = len(private) - better - worse
    sentence = (
        f"Of {len(private)} private conditions, {better} do better than the public-only model, {worse} do worse, "
        f"and {undecided} cannot be told from it."
    )
    if better == len(private):
        return sentence
    return (
        sentence + " Where private training does not do better, these runs do not show that private images were needed."
    )


def order(claims: pd.DataFrame) -> str:
    """For each claimed order: at which levels of privacy it is supported, contradicted or open."""
    private = claims[claims["kind"] == "private"]
    parts = []
    for claim, rows in private.groupby("claim", sort=False):
        found = []
        for verdict, words in (
            ("better", "supported"),
            ("worse", "contradicted"),
            ("not distinguishable", "not decided"),
        ):
            levels = [epsilon_label(epsilon) for epsilon in rows.loc[rows["verdict"] == verdict, "target_epsilon"]]
            if levels:
                found.append(f"{words} at epsilon {_listed(levels)}")
        parts.append(f"*{claim}* is {', '.join(found)}.")
    return " ".join(parts)


def gaps(table: pd.DataFrame) -> str:
    """How many of the gaps have an interval that misses zero, and the largest of these."""
    known = table.dropna(subset=["value", "low"])
    without = int(table["value"].notna().sum()) - len(known)
    if known.empty:
        return "There is no such gap with an interval to show here."
    apart = known[(known["low"] > 0) | (known["high"] < 0)]
    sentence = f"{len(apart)} of {len(known)} intervals miss zero."
    if without:
        sentence += f" {without} more {'gap has' if without == 1 else 'gaps have'} no interval."
    if apart.empty:
        return sentence
    largest = apart.iloc[int(apart["value"].abs().argmax())]
    return sentence + (
        f" The largest of these gaps is {with_interval(largest['value'], largest['low'], largest['high'], '+.3f')} "
        f"({largest['group_value']}), for the initialisation *{largest['init_label']}*."
    )


def family_of_tests(tests: pd.DataFrame) -> str:
    """How many tests of one family can be called, with and without the adjustment for their number.

    Args:
        tests: With ``family p p_adjusted``; all of one family.
    """
    made = tests.dropna(subset=["p"])
    if made.empty:
        return "There is nothing to test here."
    plain, adjusted = (int((made[column] <= LEVEL).sum()) for column in ("p", "p_adjusted"))
    return (
        f"The family, *{made['family'].iloc[0]}*, has {len(made)} tests. {adjusted} have an adjusted p of at most "
        f"{LEVEL:.2f} (Benjamini-Hochberg); {plain} would have one without adjustment, where about "
        f"{LEVEL * len(made):.0f} are expected with no true difference." + _least_callable(made)
    )


def _least_callable(made: pd.DataFrame) -> str:
    """How many permutation tests must have the smallest p there is before one is called, where one would not do."""
    if "n_permutations" not in made:
        return ""
    smallest = 1 / (int(made["n_permutations"].min()) + 1)
    least = math.ceil(smallest * len(made) / LEVEL)
    return "" if least <= 1 else f" With so few permutations none is called unless {least} have the smallest p."


def beside_delong(clustered: tuple[float, float, float], delong: PairedTest, finding: str) -> str:
    """A difference of AUROC by resampled patients, and what DeLong's test makes of the same scores.

    Args:
        clustered: Value, low and high.
        delong: Of the same two runs.
        finding: What was scored.
    """
    shown = with_interval(*clustered, "+.3f")
    if math.isnan(delong.standard_error):
        return f"For *{finding.replace('_', ' ')}* the difference is {shown}; DeLong's test is undefined."
    half = 1.96 * delong.standard_error
    theirs = with_interval(delong.difference, delong.difference - half, delong.difference + half, "+.3f")
    return (
        f"For *{finding.replace('_', ' ')}*, the difference is {shown} where patients are resampled. DeLong's test, "
        f"which takes every image for a patient of its own, gives {theirs} and a p of {show_p(delong.p)}, not adjusted."
    )


def diagnostics(steps: pd.DataFrame, specification: PrivacySpecification) -> str:
    """What the draws and the clipping of one run were like. Computed from private images."""
    over = steps["median_norm"].median() / specification.max_grad_norm
    clipped = "clipped" if specification.clipping == "flat" else "longer than the clip norm"
    return (
        f"A step drew {steps['n_drawn'].mean():.0f} {specification.privacy_unit}s on average; "
        f"{specification.expected_batch_size} were expected. {steps['share_clipped'].mean():.0%} of their gradients "
        f"were {clipped}: the median norm was {over:.1f} times the clip norm."
    )


def unit_cost(noise: Mapping[str, Mapping[float, float]]) -> str:
    """How much more noise the patient takes as privacy unit than the image does.

    Args:
        noise: Noise multipliers by privacy unit and target epsilon, at one expected batch size in units.
    """
    if not {"image", "patient"} <= set(noise):
        return "The expected batch is larger than the number of patients, so patients cannot be the unit here."
    ratios = [noise["patient"][epsilon] / each for epsilon, each in noise["image"].items()]
    span = f"{min(ratios):.2f}" if min(ratios) == max(ratios) else f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"To protect patients, this training set needs {span} times the noise that protects single images."


def tuning(cost: TuningCost, chosen_elsewhere: bool) -> str:
    """Whether choosing the settings cost privacy, as far as is known, and what a choice on private images costs.

    Args:
        cost: Of a choice among as many runs of one of the compared conditions.
        chosen_elsewhere: Whether settings are those that were chosen without private images, as
            ``grid.chosen_on_simulated`` says.
    """
    if chosen_elsewhere:
        origin = (
            "The settings of this comparison were chosen on simulated patients that no chapter draws, so the choice "
            "cost no privacy. Had they been"
        )
    else:
        origin = (
            "Where the settings of this comparison come from is not known to this page. If they were chosen by trying "
            "them on the private images, no epsilon here covers that choice. Were they"
        )
    composed = "above 100" if math.isinf(cost.epsilon_composed) else f"{cost.epsilon_composed:.3g}"
    return (
        f"{origin} the best of {cost.mean_runs} runs on the private images, an epsilon of {cost.epsilon_once:.3g} at a "
        f"delta of {cost.delta:g}, for one {cost.privacy_unit} added or removed and Poisson sampling, would have "
        f"become {cost.epsilon_tuned:.3g} (a random number of runs of that mean, {cost.distribution}; by RDP, which "
        f"gives {cost.epsilon_once_rdp:.3g} for one run) or {composed} (exactly so many runs, all counted; by PLD), at "
        "the same delta. To make up for the choice among a random number, the noise would have to be "
        f"{cost.noise_factor:.2f} times as large (by RDP, with the choice and without)."
    )


def all_private_runs(configs: Sequence[RunConfig]) -> str:
    """What the private runs among ``configs`` spend together, for who sees them all: the sums of epsilon and delta."""
    private = [(each.target_epsilon, each.privacy) for each in configs if each.privacy is not None]
    promised = [(epsilon, privacy) for epsilon, privacy in private if epsilon is not None]
    units = sorted({privacy.privacy_unit for _, privacy in promised})
    if len(units) != 1 or len(promised) != len(private):
        return "The runs of this comparison promise nothing, or not to the same unit, so their epsilons have no sum."
    epsilon, delta = sum(each for each, _ in promised), sum(privacy.delta for _, privacy in promised)
    return (
        f"Each epsilon of this comparison is that of one run, seen alone. Whoever sees all {len(promised)} private "
        f"runs sees an epsilon of at most {epsilon:g} at a delta of {delta:.2g} for one {units[0]} added or removed "
        "(basic composition: the sums)."
    )


def private_choices(config: RunConfig) -> str:
    """Whom a private run protects, and how copies and averages enter it, where they do."""
    if config.privacy is None:
        return "This run has no privacy: no gradient is clipped and no noise is added."
    privacy = config.privacy
    found = ["The privacy unit of this run is one image."]
    if privacy.privacy_unit == "patient":
        found = [
            "The privacy unit of this run is one patient with all their images. A patient who is drawn brings at most "
            f"{privacy.max_images_per_patient} of them, whose gradients are averaged before clipping."
        ]
    if privacy.clipping == "automatic":
        found.append("Automatic clipping brings every gradient close to the clip norm, also a small one.")
    if config.augmentation_multiplicity > 1:
        found.append(
            f"Each drawn image enters as {config.augmentation_multiplicity} shifted copies, whose gradients are "
            "averaged before clipping (augmentation multiplicity)."
        )
    if config.ema_decay > 0:
        found.append(
            f"What is released is a moving average of the weights over the steps, of decay {config.ema_decay:g}; it "
            "costs no privacy."
        )
    return " ".join(found)


def training_time(record: RunRecord) -> str:
    """How long a run trained, on how many images, and how much of that it waited for images."""
    seconds = record.seconds["training"]
    sentence = f"Training on {record.data['n_images_trained_on']:,} images took {seconds:.0f} seconds"
    loading = record.seconds.get("loading")
    if loading is None or seconds <= 0:
        return sentence + "."
    return sentence + f", of which {loading / seconds:.1%} was spent waiting for images."


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
