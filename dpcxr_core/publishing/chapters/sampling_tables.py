"""Tables and sentences on samplers: what they guarantee, and whether accuracy tells them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from dpcxr_core.accounting.samplers import SamplerGuarantee

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
    """How many samplers can be told from Poisson sampling by their AUROC; each is named in ``SAMPLER_WORDS``.

    Another sampler is another draw of batches, and so is another seed: a difference counts only if its verdict, over
    test patients and seeds, says so, and it is larger than that between the seeds of Poisson sampling.

    Args:
        aurocs: As from ``mechanism_tables.aurocs_by_name``.
        differences: As from ``claims.against_one_of`` with Poisson sampling as the reference; at least one.
    """
    seeds = aurocs.loc[aurocs["name"] == SAMPLER_WORDS["poisson"], "value"]
    differences = differences[differences["verdict"] != "diverged"]
    if differences.empty:
        return "No other sampler came to an end: the loss of each stopped being finite."
    spread, n = float(seeds.max() - seeds.min()), len(differences)
    largest = differences.iloc[int(differences["value"].abs().argmax())]
    found = f"The largest difference from Poisson sampling is {largest['value']:+.3f} ({largest['name']})."
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
    named = ", ".join(f"{row['name']} ({row['verdict']})" for row in apart.to_dict("records"))
    return f"{beside} Of the {n} other samplers, {len(apart)} differ from it by more: {named}."


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
