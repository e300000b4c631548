from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.auditing import audit as audit_module
from dpcxr_core.auditing.audit import SCORES, audit_of_gradients, audit_run
from dpcxr_core.auditing.canary_scores import simulated_gradients
from dpcxr_core.config import UserError
from dpcxr_core.privacy import bookkeeping
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.streams import seeded_streams
from dpcxr_core.training import loop


def _simulated(config, claim, actual, seeds):
    """Audits of the real sampler, noise and denominator on the canaries' own entries, without a network."""
    found = []
    for seed in seeds:
        included = np.random.default_rng([seed, 9]).random(1000) < 0.5
        gradients = simulated_gradients(actual, included, seeded_streams(seed))
        found.append(audit_of_gradients(gradients, included, config, claim, audit_seed=seed))
    return found


def test_bounds_stay_below_the_certificate_on_correct_code(config, claim):
    audits = _simulated(config, claim, claim, range(25))
    below = np.array([audit.bounds[["one_run", "rates", "family"]].to_numpy() for audit in audits])
    claimed = epsilon_pld(1.5, 0.5, 4, 1e-5)
    assert np.mean([audit.epsilon_low <= claimed for audit in audits]) >= 0.95
    assert np.mean(below.max((1, 2)) <= claimed) >= 0.95
    assert below[:, 0, 2].mean() > 0.3 * claimed  # and is not idle
    assert sum(audit.refuted for audit in audits) <= 1


@pytest.mark.parametrize("divisor", [2, 100], ids=["half the noise", "noise divided twice"])
def test_bounds_exceed_the_certificate_where_noise_is_missing(config, claim, divisor):
    actual = replace(claim, noise_multiplier=claim.noise_multiplier / divisor)
    audits = _simulated(config, claim, actual, range(8))
    assert all(audit.refuted and audit.epsilon_low > audit.epsilon_claimed for audit in audits)


def _run(start, data, config, claim, seed=0):
    return audit_run(
        start.model, data, replace(config, seed=seed), claim, start.input_transform, n_canaries=600, audit_seed=seed
    )


def test_real_training_keeps_its_certificate(start, data, config, claim):
    before = [parameter.clone() for parameter in start.model.parameters()]
    audit = _run(start, data, config, claim)
    assert not audit.bounds["refuted"].any()
    assert 0 < audit.epsilon_low <= audit.epsilon_claimed == epsilon_pld(1.5, 0.5, 4, 1e-5)
    assert list(audit.scores.columns) == list(audit.bounds["score"]) == list(SCORES)
    assert audit.scores.shape == (600, 3)
    assert 240 < audit.included.sum() < 360
    assert all(map(torch.equal, before, start.model.parameters()))


def test_a_missing_clip_is_found(start, data, config, claim, monkeypatch):
    def unclipped(squared_norms, max_grad_norm, clipping):
        norms = squared_norms.sqrt()
        return norms, torch.ones_like(norms), torch.zeros_like(norms, dtype=torch.bool)

    monkeypatch.setattr(bookkeeping, "_clip_factors", unclipped)
    audit = _run(start, data, config, claim)
    assert audit.refuted
    assert audit.epsilon_low > 2 * audit.epsilon_claimed


@pytest.mark.parametrize("divisor", [2, 100], ids=["half the noise", "noise divided twice"])
def test_missing_noise_is_found_in_real_training(start, data, config, claim, monkeypatch, divisor):
    def too_quiet(parameters, specification, *where, **ranks):
        weaker = replace(specification, noise_multiplier=specification.noise_multiplier / divisor)
        privatise(parameters, weaker, *where, **ranks)

    monkeypatch.setattr(loop, "privatise", too_quiet)
    audit = _run(start, data, config, claim)
    assert audit.refuted
    assert audit.epsilon_low > audit.epsilon_claimed


def test_captured_gradients_make_the_final_weights(start, data, config, claim, monkeypatch):
    """The replay of what was captured ends where the training ended: nothing was missed and nothing added."""
    kept = {}

    def keep(gradients, weights, claimed):
        kept.setdefault("first", (gradients, weights))
        return scores_of(gradients, weights, claimed)

    scores_of = audit_module._scores
    monkeypatch.setattr(audit_module, "_scores", keep)
    _run(start, data, config, claim)
    gradients, weights = kept["first"]
    assert gradients.shape == (4, 600)
    np.testing.assert_allclose(audit_module.replayed_weights(gradients, config), weights, rtol=1e-5, atol=1e-8)


def test_patients_can_be_the_unit(start, data, config, claim):
    per_patient = replace(claim, privacy_unit="patient", max_images_per_patient=2)
    audit = _run(start, data, replace(config, privacy=per_patient), per_patient)
    assert not audit.refuted
    assert isinstance(audit.bounds, pd.DataFrame)


def test_what_cannot_be_audited_is_refused(start, data, config, claim):
    with pytest.raises(UserError, match="max_shift 0"):
        _run(start, data, replace(config, max_shift=2), claim)
    with pytest.raises(UserError, match="promises nothing"):
        _run(start, data, config, replace(claim, clipping="none"))
