from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.auditing import audit as audit_module
from dpcxr_core.auditing.audit import SCORES, audit_run
from dpcxr_core.auditing.canary_scores import RunningScores, simulated_gradients
from dpcxr_core.config import UserError
from dpcxr_core.privacy import bookkeeping
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.streams import seeded_streams
from dpcxr_core.training import loop
from tests.auditing.conftest import audit_of_gradients


def _simulated(config, claim, actual, seeds):
    """Audits of the real sampler, noise and denominator on the canaries' own entries, without a network."""
    found = []
    for seed in seeds:
        included = np.random.default_rng([seed, 9]).random(1000) < 0.5
        gradients = np.stack(list(simulated_gradients(actual, included, seeded_streams(seed))))
        found.append(audit_of_gradients(gradients, included, config, claim, audit_seed=seed))
    return found


def test_bounds_stay_below_the_certificate_on_correct_code(config, claim):
    audits = _simulated(config, claim, claim, range(25))
    below = np.array([audit.bounds[["one_run", "rates", "family"]].to_numpy() for audit in audits])
    claimed = epsilon_pld(1.5, 0.5, 4, 1e-5)
    assert [audit.epsilon_low for audit in audits] == below[:, 0, 0].tolist()  # one method, whatever the others find
    for method in range(3):
        assert np.mean(below[:, 0, method] <= claimed) >= 0.95
    assert below[:, 0, 2].mean() > 0.3 * claimed  # and is not idle
    assert below[:, 0, 0].mean() > 0.1 * claimed
    assert sum(audit.refuted for audit in audits) <= 1


@pytest.mark.parametrize("divisor", [2, 100], ids=["half the noise", "noise divided twice"])
def test_bounds_exceed_the_certificate_where_noise_is_missing(config, claim, divisor):
    actual = replace(claim, noise_multiplier=claim.noise_multiplier / divisor)
    audits = _simulated(config, claim, actual, range(8))
    assert all(audit.refuted and audit.bounds["family"][0] > audit.epsilon_claimed for audit in audits)
    # the bound of any mechanism grows with the leak, but one in sixteen canaries is never drawn, which limits it
    assert all(1.5 < audit.epsilon_low < epsilon_pld(0.75, 0.5, 4, 1e-5) for audit in audits)


def _run(start, data, config, claim, seed=0, **further):
    seeded = replace(config, seed=seed)
    return audit_run(
        start.model, data, seeded, claim, start.input_transform, n_canaries=600, audit_seed=seed, **further
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
    assert audit.epsilon_low > 2
    assert audit.bounds["family"][0] > 2 * audit.epsilon_claimed


@pytest.mark.parametrize("divisor", [2, 100], ids=["half the noise", "noise divided twice"])
def test_missing_noise_is_found_in_real_training(start, data, config, claim, monkeypatch, divisor):
    def too_quiet(parameters, specification, *where, **ranks):
        weaker = replace(specification, noise_multiplier=specification.noise_multiplier / divisor)
        privatise(parameters, weaker, *where, **ranks)

    monkeypatch.setattr(loop, "privatise", too_quiet)
    audit = _run(start, data, config, claim)
    assert audit.refuted
    assert audit.bounds["family"][0] > audit.epsilon_claimed


@pytest.fixture
def captured(start, data, config, claim, monkeypatch):
    """Gradients ``(4, 600)`` that the attacker saw, final weights of the canaries, and units drawn in each step."""

    def of(denominator, privacy=claim):
        gradients, weights, traces = [], [], []

        def add(self, gradient):
            gradients.append(gradient.copy())

        def keep_weights(running, found):
            weights.append(found)
            return table_of(running, found)

        def keep_trace(*args, **kwargs):
            traces.append(loop.train(*args, **kwargs))

        with monkeypatch.context() as patches:
            table_of = audit_module._table
            patches.setattr(RunningScores, "add", add)
            patches.setattr(audit_module, "_table", keep_weights)
            patches.setattr(audit_module, "train", keep_trace)
            _run(start, data, replace(config, privacy=privacy), privacy, denominator=denominator)
        return np.stack(gradients[:4]), weights[0], traces[0].diagnostics["n_drawn"].to_numpy()

    return of


def test_captured_gradients_make_the_final_weights(captured, config):
    """The replay of what was captured ends where the training ended: nothing was missed and nothing added."""
    gradients, weights, _ = captured("public")
    replayed = audit_module.replayed_weights(gradients, config, n_canaries=600, n_steps=4)
    np.testing.assert_allclose(replayed, weights, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("unit", ["image", "patient"])
def test_the_drawn_denominator_is_planted_in_the_real_training(captured, claim, config, unit):
    limit = None if unit == "image" else 2
    privacy = replace(claim, privacy_unit=unit, max_images_per_patient=limit)
    right, _, n_drawn = captured("public", privacy)
    wrong, weights, _ = captured("drawn", privacy)
    assert len(set(n_drawn)) > 1
    np.testing.assert_allclose(wrong, right * (100 / n_drawn)[:, None], rtol=1e-5)
    replayed = audit_module.replayed_weights(wrong, config, n_canaries=600, n_steps=4)
    np.testing.assert_allclose(replayed, weights, rtol=1e-5, atol=1e-8)  # it is what the optimiser took


def test_a_drawn_denominator_is_not_seen_by_canaries(start, data, config, claim):
    """It is the same for all of them, so it tells about none: the chapter must not promise to find it."""
    near = replace(claim, expected_batch_size=156)  # half of twelve images and of about half of 600 canaries
    audits = [_run(start, data, replace(config, privacy=near), near, seed, denominator="drawn") for seed in range(2)]
    assert not any(audit.refuted for audit in audits)
    with pytest.raises(UserError, match="randomness 'seeded'"):
        _run(start, data, replace(config, randomness="secret"), claim, denominator="drawn")


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
