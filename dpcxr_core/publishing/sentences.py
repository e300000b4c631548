"""Sentences whose every number comes from a table of the run."""

from __future__ import annotations

import pandas as pd

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.publishing.results import epsilon_label


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
    return sentence + " Where private training does not do better, no private image was needed for that accuracy."


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
    known = table.dropna(subset=["value"])
    if known.empty:
        return "There is no such gap to show here."
    apart = known[(known["low"] > 0) | (known["high"] < 0)]
    sentence = f"{len(apart)} of {len(known)} intervals miss zero."
    if apart.empty:
        return sentence
    largest = apart.iloc[int(apart["value"].abs().argmax())]
    return sentence + (
        f" The largest of these gaps is {largest['value']:+.3f} [{largest['low']:+.3f}, {largest['high']:+.3f}] "
        f"({largest['group_value']}), for the initialisation *{largest['init_label']}*."
    )


def diagnostics(steps: pd.DataFrame, specification: PrivacySpecification) -> str:
    """What the draws and the clipping of one run were like. Computed from private images."""
    over = steps["median_norm"].median() / specification.max_grad_norm
    return (
        f"A step drew {steps['n_drawn'].mean():.0f} images on average; {specification.expected_batch_size} were "
        f"expected. {steps['share_clipped'].mean():.0%} of the gradients were clipped: the median norm was {over:.1f} "
        "times the clip norm."
    )


def drop(table: pd.DataFrame) -> str:
    """The least and the greatest mean loss over the external hospitals, and whose they are."""
    if table.shape[1] == 0:
        return "This profile has one data set only, so nothing can be said about other hospitals."
    mean = table.mean(axis=1)
    least, most = (", ".join(map(str, mean.index[int(place)])) for place in (mean.argmin(), mean.argmax()))
    return (
        f"Averaged over {table.shape[1]} hospitals, the loss runs from {mean.min():+.3f} (*{least}*) to "
        f"{mean.max():+.3f} (*{most}*). A negative loss means that the other hospitals are easier."
    )


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
