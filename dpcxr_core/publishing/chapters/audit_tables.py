"""What an audit found, in tables and words."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from dpcxr_core.accounting.tradeoff import largest_tpr
from dpcxr_core.auditing.audit import Audit
from dpcxr_core.auditing.membership import AttackOutcome, roc_of
from dpcxr_core.auditing.planted_bugs import AS_CERTIFIED, PlantedRun
from dpcxr_core.config import PrivacySpecification
from dpcxr_core.publishing.tables import with_interval

_BOUNDS = {
    "one_run": "any mechanism, any dependence",
    "rates": "any mechanism, independent canaries",
    "family": "only Gaussian noise of some size",
}


def show_bounds(audit: Audit) -> pd.DataFrame:
    """One row a score: lower bounds on epsilon by what they take for granted, beside the certificate."""
    table = audit.bounds.set_index("score")
    shown = table[list(_BOUNDS)].map(_epsilon).rename(columns=_BOUNDS)
    shown["certificate"] = f"{audit.epsilon_claimed:.2f}"
    shown["certificate refuted"] = table["refuted"].map({True: "yes", False: "no"})
    return shown.rename_axis(index="what the attacker sees")


def show_planted(audits: Mapping[str, Audit], runs: Mapping[str, PlantedRun]) -> pd.DataFrame:
    """One row a run: what the audit would have found of it.

    The bound of the audit and the test of the certificate take nothing for granted about what ran. The bound in the
    family is shown of the ``runs`` that are in it, as of others it says nothing.
    """
    rows = {
        name: {
            "certificate": f"{audit.epsilon_claimed:.2f}",
            "certificate refuted": "yes" if audit.refuted else "no",
            "lower bound, any mechanism": _epsilon(audit.epsilon_low),
            "in the family": _epsilon(audit.bounds.iloc[0]["family"]) if runs[name].in_family else "not of it",
        }
        for name, audit in audits.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="what ran")


def show_attacks(outcomes: Mapping[str, AttackOutcome], claims: Mapping[str, PrivacySpecification]) -> pd.DataFrame:
    """One row a kind of training: the attack's AUROC and TPR with 95 % intervals, and what is allowed.

    Args:
        outcomes: By name of the training.
        claims: The certified mechanism of each training that has one.
    """
    rows = {}
    for name, each in outcomes.items():
        bound = f"{_allowed(claims[name], each.fpr):.3f}" if name in claims else "no bound"
        rows[name] = {
            "AUROC of the attack": with_interval(each.auroc, *each.auroc_interval),
            f"TPR at FPR {each.fpr:g}": with_interval(each.tpr, *each.tpr_interval),
            "most that the certificate allows": bound,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="training")


def audit_in_words(audits: Mapping[str, Audit]) -> str:
    """Which of the runs the audit refutes, in a sentence or two."""
    planted = {name: audit for name, audit in audits.items() if name != AS_CERTIFIED}
    found = [name for name, audit in planted.items() if audit.refuted]
    missed = [name for name, audit in planted.items() if not audit.refuted]
    sentences = []
    if AS_CERTIFIED in audits:
        verdict = "is refuted, so something is wrong" if audits[AS_CERTIFIED].refuted else "stands"
        sentences.append(f"The certificate of the run as certified {verdict}.")
    if found:
        sentences.append(f"Refuted: {', '.join(found)}.")
    if missed:
        sentences.append(f"Not seen by this audit: {', '.join(missed)}. A certificate that stands is not thereby true.")
    return " ".join(sentences)


def attacks_in_words(outcomes: Mapping[str, AttackOutcome], claims: Mapping[str, PrivacySpecification]) -> str:
    """How many of a hundred members each attack finds at its false positive rate, beside what is allowed."""
    sentences = []
    for name, each in outcomes.items():
        sentence = (
            f"*{name}*: with {100 * each.fpr:g} false alarm in a hundred, the attack recognises {100 * each.tpr:.1f} "
            "of a hundred that were trained on"
        )
        if name in claims:
            sentence += f"; the certificate allows at most {100 * _allowed(claims[name], each.fpr):.1f}"
        sentences.append(sentence + ".")
    return " ".join(sentences)


def allowed_curve(claim: PrivacySpecification) -> pd.DataFrame:
    """Table ``fpr tpr``: the most that any attack reaches against ``claim``, from one in ten thousand on."""
    fpr = np.append(np.geomspace(1e-4, 1.0, 200)[:-1], 1.0)
    bound = largest_tpr(fpr, claim.noise_multiplier, claim.sample_rate, claim.n_steps)
    return pd.DataFrame({"fpr": fpr, "tpr": bound})


def roc_of_audit(audit: Audit) -> pd.DataFrame:
    """Table ``score fpr tpr``: what the canary attacker reaches, by score."""
    curves = {name: roc_of(audit.scores[name].to_numpy(), audit.included) for name in audit.scores}
    return pd.concat(curves, names=["score"]).reset_index("score").reset_index(drop=True)


def _allowed(claim: PrivacySpecification, fpr: float) -> float:
    return float(largest_tpr(fpr, claim.noise_multiplier, claim.sample_rate, claim.n_steps))


def _epsilon(value: float) -> str:
    return "more than any such noise explains" if math.isinf(value) else f"{value:.2f}"
