import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.accounting.tradeoff import largest_tpr_of_gaussian
from dpcxr_core.auditing.audit import SCORES, Audit
from dpcxr_core.auditing.membership import AttackOutcome
from dpcxr_core.auditing.planted_bugs import AS_CERTIFIED, PlantedRun
from dpcxr_core.config import PrivacySpecification
from dpcxr_core.publishing.chapters.audit_tables import (
    allowed_curve,
    attacks_in_words,
    audit_in_words,
    roc_of_audit,
    show_attacks,
    show_bounds,
    show_planted,
)

CLAIM = PrivacySpecification(
    sample_rate=1.0, n_steps=4, expected_batch_size=10, max_grad_norm=1.0, noise_multiplier=2.0, delta=1e-5
)


def _audit(family=1.25, *, refuted=False):
    rows = [{"score": name, "one_run": 0.5, "rates": 0.25, "family": family, "refuted": refuted} for name in SCORES]
    scores = pd.DataFrame(dict.fromkeys(SCORES, [3.0, 2.0, 1.0, 0.0]))
    return Audit(CLAIM, 4.377, 0.95, scores, np.array([True, False, True, False]), pd.DataFrame(rows))


def _outcome(tpr):
    return AttackOutcome(0.7, (0.6, 0.8), tpr, (tpr - 0.02, tpr + 0.02), 0.01, pd.DataFrame({"fpr": [0], "tpr": [0]}))


def test_bounds_stand_beside_the_certificate():
    table = show_bounds(_audit())
    assert list(table.index) == list(SCORES)
    assert table.iloc[0].tolist() == ["0.50", "0.25", "1.25", "4.38", "no"]


def test_planted_runs_say_whether_they_are_found():
    quiet = replace(CLAIM, noise_multiplier=0.01)
    runs = {
        AS_CERTIFIED: PlantedRun(CLAIM),
        "quiet": PlantedRun(quiet),
        "no clipping": PlantedRun(replace(CLAIM, clipping="none")),
    }
    found = _audit(math.inf, refuted=True)
    table = show_planted({AS_CERTIFIED: _audit(), "quiet": found, "no clipping": found}, runs)
    assert table["lower bound, any mechanism"].tolist() == ["0.50"] * 3
    assert table["in the family"].tolist() == ["1.25", "more than any such noise explains", "not of it"]
    assert table["certificate refuted"].tolist() == ["no", "yes", "yes"]


def test_words_name_what_was_found_and_what_was_not():
    audits = {AS_CERTIFIED: _audit(), "a": _audit(refuted=True), "b": _audit()}
    words = audit_in_words(audits)
    assert "as certified stands" in words
    assert "Refuted: a." in words
    assert "Not seen by this audit: b." in words
    assert "something is wrong" in audit_in_words({AS_CERTIFIED: _audit(refuted=True)})
    assert "Not seen" not in audit_in_words({AS_CERTIFIED: _audit()})


def test_attacks_stand_beside_what_is_allowed():
    claims = {"private": CLAIM}
    table = show_attacks({"private": _outcome(0.03), "open": _outcome(0.4)}, claims)
    assert table.loc["private", "most that the certificate allows"] == "0.092"  # Phi(Phi^-1(0.01) + 1)
    assert table.loc["open", "most that the certificate allows"] == "no bound"
    assert table.loc["open", "TPR at FPR 0.01"] == "0.400 [0.380, 0.420]"
    words = attacks_in_words({"private": _outcome(0.03), "open": _outcome(0.4)}, claims)
    assert "recognises 3.0 of a hundred" in words
    assert "at most 9.2." in words


def test_allowed_curve_is_that_of_the_mechanism():
    curve = allowed_curve(CLAIM)
    np.testing.assert_allclose(curve["tpr"], largest_tpr_of_gaussian(curve["fpr"].to_numpy(), 1.0))
    weaker = allowed_curve(replace(CLAIM, sample_rate=0.5))
    assert (weaker["tpr"] <= curve["tpr"] + 1e-4).all()


def test_roc_of_canaries_counts_from_the_highest_score():
    roc = roc_of_audit(_audit())
    first = roc[roc["score"] == SCORES[0]]
    assert first["tpr"].tolist() == pytest.approx([0, 0.5, 0.5, 1, 1])
    assert first["fpr"].tolist() == pytest.approx([0, 0, 0.5, 0.5, 1])


def test_canaries_of_equal_score_are_said_to_be_in_together():
    tied = replace(_audit(), scores=pd.DataFrame(dict.fromkeys(SCORES, [1.0, 1.0, 1.0, 0.0])))
    first = roc_of_audit(tied).groupby("score").get_group(SCORES[0])
    assert first[["fpr", "tpr"]].to_numpy().tolist() == [[0, 0], [0.5, 1], [1, 1]]
