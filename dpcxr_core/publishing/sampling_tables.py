"""Tables and sentences on samplers: what they cost in accuracy, and what they guarantee."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from dpcxr_core.accounting.samplers import SamplerGuarantee
from dpcxr_core.publishing.tables import one_metric

SAMPLER_WORDS = {
    "poisson": "Poisson",
    "truncated_poisson": "Poisson, capped",
    "fixed_size": "fixed size",
    "shuffled": "shuffled",
    "balls_and_bins": "balls and bins",
}
RELATION_WORDS = {
    "add_or_remove_one": "add or remove one",
    "zero_out_one": "zero out one",
    "replace_one": "replace one",
}


def aurocs_by_sampler(folders: Mapping[tuple[str, int], Path], metrics: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """``sampler seed auroc``: macro AUROC on ``dataset`` of every run.

    Args:
        folders: Record folders by (sampler, seed).
        metrics: Metrics of all these runs.
        dataset: Test set.
    """
    values = one_metric(metrics, dataset, "auroc").set_index("run_id")["value"]
    rows = [
        {"sampler": name, "seed": seed, "auroc": float(values[folder.name])} for (name, seed), folder in folders.items()
    ]
    return pd.DataFrame(rows)


def show_accuracy(aurocs: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """One row a sampler: AUROC over seeds, and the difference from Poisson sampling.

    Args:
        aurocs: As from ``aurocs_by_sampler``.
        differences: As from ``claims.against_one_of`` with "poisson" as the reference.
    """
    rows = {}
    for row in [None, *differences.to_dict("records")]:
        name = "poisson" if row is None else str(row["name"])
        seeds = aurocs.loc[aurocs["sampler"] == name, "auroc"]
        rows[SAMPLER_WORDS[name]] = {
            "macro AUROC, mean": f"{seeds.mean():.3f}",
            "seeds": ", ".join(f"{value:.3f}" for value in seeds),
            "difference from Poisson": "reference"
            if row is None
            else f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("sampler")


def show_guarantees(guarantees: Sequence[SamplerGuarantee]) -> pd.DataFrame:
    """One row a sampler and neighbouring relation: what is certainly spent, at most spent, and what Poisson would."""
    rows = [
        {
            "sampler": SAMPLER_WORDS[each.sampler],
            "neighbours": RELATION_WORDS[each.neighbouring_relation],
            "unit": each.privacy_unit,
            "delta": f"{each.delta:g}",
            "epsilon, at least": _number(each.epsilon_low),
            "epsilon, at most": _number(each.epsilon),
            "upper bound by": each.accountant,
            "epsilon if it were Poisson": _number(each.epsilon_if_poisson)
            + ("" if each.sampler == "poisson" else " (not a guarantee)"),
        }
        for each in guarantees
    ]
    return pd.DataFrame(rows).set_index(["sampler", "neighbours"])


def show_promises(guarantees: Sequence[SamplerGuarantee]) -> pd.DataFrame:
    """One row a sampler and relation: its guarantee in words."""
    rows = [
        {
            "sampler": SAMPLER_WORDS[each.sampler],
            "neighbours": RELATION_WORDS[each.neighbouring_relation],
            "what is promised": each.promise,
        }
        for each in guarantees
    ]
    return pd.DataFrame(rows).set_index(["sampler", "neighbours"])


def accuracy_sentence(aurocs: pd.DataFrame, differences: pd.DataFrame) -> str:
    """How many samplers can be told from Poisson sampling by their AUROC; arguments as for ``show_accuracy``.

    Another sampler is another draw of batches, and so is another seed: a difference counts only if all seeds agree on
    its sign, beyond test patients, and it is larger than that between the seeds of Poisson sampling.
    """
    seeds = aurocs.loc[aurocs["sampler"] == "poisson", "auroc"]
    spread, n = float(seeds.max() - seeds.min()), len(differences)
    largest = differences.iloc[int(differences["value"].abs().argmax())]
    found = (
        f"The largest difference from Poisson sampling is {largest['value']:+.3f} ({SAMPLER_WORDS[largest['name']]})."
    )
    if len(seeds) < 2:
        return f"{found} One seed cannot tell another sampler from another draw of batches."
    decided = (differences["verdict"] != "not distinguishable") & (differences["value"].abs() > spread)
    apart = differences[decided]
    beside = f"{found} The seeds of Poisson sampling itself lie {spread:.3f} apart."
    if apart.empty:
        return (
            f"{beside} So none of the {n} other samplers can be told from it by accuracy, which does not rule out "
            "small differences."
        )
    named = ", ".join(f"{SAMPLER_WORDS[row['name']]} ({row['verdict']})" for row in apart.to_dict("records"))
    return f"{beside} Of the {n} other samplers, {len(apart)} differ from it by more, for every seed: {named}."


def shuffling_sentence(guarantees: Sequence[SamplerGuarantee]) -> str:
    """What is known about the epsilon of shuffled batches, beside the Poisson epsilon often reported for them."""
    (shuffled,) = (
        each for each in guarantees if each.sampler == "shuffled" and each.neighbouring_relation == "zero_out_one"
    )
    low, reported = shuffled.epsilon_low, shuffled.epsilon_if_poisson
    known = (
        f"With shuffled batches this mechanism spends an epsilon of at least {_number(low)} and at most "
        f"{_number(shuffled.epsilon)}; nothing sharper is proved."
    )
    if low > reported:
        return (
            f"{known} An accountant that takes the batches for Poisson batches reports {_number(reported)}: that is "
            f"too little by a factor of at least {low / reported:.1f}."
        )
    return (
        f"{known} An accountant that takes the batches for Poisson batches reports {_number(reported)}: at this much "
        "noise it is not refuted, and not proved either."
    )


def _number(epsilon: float) -> str:
    return "not known" if math.isnan(epsilon) else f"{epsilon:.3g}" if epsilon < 100 else f"{epsilon:.0f}"
