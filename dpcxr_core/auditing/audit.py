"""The audit of one training: canaries through the real loop, their scores, and the bounds these give."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.auditing.canaries import CanaryNetwork, plant
from dpcxr_core.auditing.canary_scores import (
    final_scores,
    replayed_weights,
    simulated_gradients,
    step_scores,
    sum_scores,
    thresholds_for,
)
from dpcxr_core.auditing.error_rates import epsilon_of_rates, error_rates, refutes
from dpcxr_core.auditing.family import epsilon_in_family
from dpcxr_core.auditing.one_run import epsilon_one_run
from dpcxr_core.config import PrivacySpecification, RunConfig, UserError
from dpcxr_core.data.images import InputTransform
from dpcxr_core.privacy.streams import RandomStreams
from dpcxr_core.training.loop import train
from dpcxr_core.training.training_set import TrainingData

# What the attacker sees: every noisy gradient, scored by the likelihood or summed up; or the released weights alone.
SCORES = ("every step, likelihood", "every step, sum", "final model")
_N_SIMULATED = 4000  # canaries of each kind, to place the thresholds


@dataclass(frozen=True)
class Audit:
    """What an attacker with canaries found out about one training.

    Attributes:
        claim: The mechanism that the certificate describes.
        epsilon_claimed: Its epsilon at its delta, by PLD.
        confidence: Of every bound, each on its own.
        scores: ``(n_canaries, 3)`` table with the columns ``SCORES``.
        included: ``(n_canaries,)`` bool: which canaries were trained on.
        bounds: One row a score: ``score``, lower bounds on epsilon ``one_run`` (any mechanism, any dependence),
            ``rates`` (any mechanism, independent canaries), ``family`` (Gaussian noise of unknown size with the
            claimed rate and steps), and whether the claim is ``refuted``.
    """

    claim: PrivacySpecification
    epsilon_claimed: float
    confidence: float
    scores: pd.DataFrame
    included: np.ndarray
    bounds: pd.DataFrame

    @property
    def epsilon_low(self) -> float:
        """The highest lower bound of the strongest attacker, who scores every step by its likelihood."""
        first = self.bounds.iloc[0]
        return float(max(first["one_run"], first["rates"], first["family"]))

    @property
    def refuted(self) -> bool:
        """Whether that attacker does better than the claim allows anyone."""
        return bool(self.bounds.iloc[0]["refuted"])


def audit_run(
    model: nn.Module,
    data: TrainingData,
    config: RunConfig,
    claim: PrivacySpecification,
    transform: InputTransform,
    *,
    n_canaries: int,
    audit_seed: int,
    confidence: float = 0.95,
) -> Audit:
    """The audit of training ``model`` on ``data`` by ``config``, against what ``claim`` says of it.

    The model given stays as it is: a copy is trained, with canaries in the data. ``config.privacy`` is what is run
    and ``claim`` what is believed; on correct use they are the same.

    Args:
        model: To start from.
        data: Real images; the canaries are added to them.
        config: The training. No shifts, by which canaries could not be recognised, and no copies of images.
        claim: The certified mechanism.
        transform: How pixels become input of this model.
        n_canaries: About half of them enter; 1,000 tell a certificate from one with half its noise.
        audit_seed: Seeds the coins, the auditor's secret: another one than the seed of the run.
        confidence: Of each bound.

    Raises:
        UserError: ``config`` is not private, shifts or copies images, or ``claim`` promises nothing.
    """
    if config.privacy is None or config.max_shift or config.augmentation_multiplicity > 1:
        raise UserError("an audit needs a run with privacy, max_shift 0 and augmentation_multiplicity 1")
    if not claim.promises:
        raise UserError("the claim promises nothing that could be refuted; give the certified specification")
    planted = plant(data, n_canaries, np.random.default_rng([audit_seed, 1]))
    network = CanaryNetwork(copy.deepcopy(model), planted.images, transform, claim.max_grad_norm)
    with _captured_gradients(network.canaries.weight) as seen:
        train(network, planted.data, config, transform, progress=False)
    gradients = np.stack(seen)
    scores = _scores(gradients, network.canaries.weight.detach().cpu().numpy()[0], claim)
    return audit_of_scores(scores, planted.included, config, claim, audit_seed=audit_seed, confidence=confidence)


def audit_of_gradients(
    gradients: np.ndarray,
    included: np.ndarray,
    config: RunConfig,
    claim: PrivacySpecification,
    *,
    audit_seed: int,
    confidence: float = 0.95,
) -> Audit:
    """As ``audit_run``, of noisy gradients ``(n_steps, n_canaries)`` that were made elsewhere."""
    scores = _scores(gradients, replayed_weights(gradients, config), claim)
    return audit_of_scores(scores, included, config, claim, audit_seed=audit_seed, confidence=confidence)


def audit_of_scores(
    scores: pd.DataFrame,
    included: np.ndarray,
    config: RunConfig,
    claim: PrivacySpecification,
    *,
    audit_seed: int,
    confidence: float,
) -> Audit:
    """The bounds that ``scores``, a table with the columns ``SCORES``, give on the mechanism."""
    streams = RandomStreams(2**64 + audit_seed)  # apart from the streams of any seeded run
    kinds = np.repeat([True, False], _N_SIMULATED)
    believed = simulated_gradients(claim, kinds, streams)
    simulated = _scores(believed, replayed_weights(believed, config), claim)
    rows: list[dict[str, Any]] = []
    for name in SCORES:
        found = scores[name].to_numpy()
        thresholds = thresholds_for(simulated[name].to_numpy()[kinds], simulated[name].to_numpy()[~kinds])
        rates = error_rates(found, included, thresholds, confidence)
        rows.append(
            {
                "score": name,
                "one_run": epsilon_one_run(found, included, claim.delta, confidence),
                "rates": epsilon_of_rates(rates, claim.delta),
                "family": epsilon_in_family(rates, claim),
                "refuted": refutes(rates, claim),
            }
        )
    return Audit(claim, _epsilon(claim), confidence, scores, included, pd.DataFrame(rows))


@lru_cache
def _epsilon(claim: PrivacySpecification) -> float:
    return epsilon_pld(claim.noise_multiplier, claim.sample_rate, claim.n_steps, claim.delta)


def _scores(gradients: np.ndarray, weights: np.ndarray, claim: PrivacySpecification) -> pd.DataFrame:
    columns = (step_scores(gradients, claim), sum_scores(gradients), final_scores(weights))
    return pd.DataFrame(dict(zip(SCORES, columns, strict=True)))


@contextmanager
def _captured_gradients(entry: torch.Tensor) -> Iterator[list[np.ndarray]]:
    """Fills a list with the gradient of ``entry``, ``(1, n)``, before each step of the optimiser that holds it."""
    seen: list[np.ndarray] = []

    def hook(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        held = (parameter for group in optimizer.param_groups for parameter in group["params"])
        if any(parameter is entry for parameter in held) and entry.grad is not None:
            seen.append(entry.grad.detach().cpu().numpy()[0].copy())

    handle = register_optimizer_step_pre_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()
