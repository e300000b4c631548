"""The audit of one training: canaries through the real loop, their scores, and the bounds these give."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.auditing.canaries import CanaryNetwork, plant
from dpcxr_core.auditing.canary_scores import (
    RunningScores,
    final_scores,
    replayed_weights,
    simulated_gradients,
    start_scores,
    thresholds_for,
)
from dpcxr_core.auditing.error_rates import epsilon_of_rates, error_rates, refutes
from dpcxr_core.auditing.family import epsilon_in_family
from dpcxr_core.auditing.one_run import epsilon_one_run
from dpcxr_core.config import PrivacySpecification, RunConfig, UserError
from dpcxr_core.data.images import InputTransform
from dpcxr_core.privacy.sampling import draw_units
from dpcxr_core.privacy.streams import RandomStreams, seeded_streams
from dpcxr_core.privacy.units import units_of
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
        confidence: Of ``epsilon_low``; and of ``rates``, ``family`` and ``refuted`` of one score together, which
            rest on the same limits. The largest of several bounds or scores holds with less.
        scores: ``(n_canaries, 3)`` table with the columns ``SCORES``.
        included: ``(n_canaries,)`` bool: which canaries were trained on.
        bounds: One row a score: ``score``, lower bounds on epsilon ``one_run`` (any mechanism, any dependence),
            ``rates`` (any mechanism, independent canaries), ``family`` (Gaussian noise of unknown size with the
            claimed rate and steps: of other mechanisms it bounds nothing), and whether the claim is ``refuted``,
            which takes independent canaries for granted and nothing about what ran.
    """

    claim: PrivacySpecification
    epsilon_claimed: float
    confidence: float
    scores: pd.DataFrame
    included: np.ndarray
    bounds: pd.DataFrame

    @property
    def epsilon_low(self) -> float:
        """The audit's lower bound on epsilon, of any mechanism, with ``confidence``.

        One attacker and one method, chosen before any score was seen: every step, scored by its likelihood, and
        ``one_run``, which takes nothing for granted.
        """
        return float(self.bounds.iloc[0]["one_run"])

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
    denominator: Literal["public", "drawn"] = "public",
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
        confidence: As in ``Audit``.
        denominator: "public", what ``train`` divides noisy sums by; "drawn" plants the bug of dividing each by the
            number of units in its step.

    Raises:
        UserError: ``config`` is not private, shifts or copies images, or ``claim`` promises nothing; or the draws
            are secret and ``denominator`` needs them.
    """
    if config.privacy is None or config.max_shift or config.augmentation_multiplicity > 1:
        raise UserError("an audit needs a run with privacy, max_shift 0 and augmentation_multiplicity 1")
    if not claim.promises:
        raise UserError("the claim promises nothing that could be refuted; give the certified specification")
    planted = plant(data, n_canaries, np.random.default_rng([audit_seed, 1]))
    network = CanaryNetwork(copy.deepcopy(model), planted.images, transform, claim.max_grad_norm)
    entry, running = network.canaries.weight, start_scores(claim, n_canaries)
    with ExitStack() as stack:
        if denominator == "drawn":  # first, as what is seen is what the optimiser gets
            stack.enter_context(_before_each_step(entry, _division_by_drawn(config, planted.data)))
        stack.enter_context(_before_each_step(entry, lambda _: running.add(_gradient_of(entry))))
        train(network, planted.data, config, transform, progress=False)
    scores = _table(running, entry.detach().cpu().numpy()[0])
    return audit_of_scores(scores, planted.included, config, claim, audit_seed=audit_seed, confidence=confidence)


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
    simulated = scores_of(believed, config, claim, n_canaries=len(kinds), n_steps=claim.n_steps)
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
    return epsilon_pld(*claim.accounted)


def scores_of(
    gradients: Iterable[np.ndarray], config: RunConfig, claim: PrivacySpecification, *, n_canaries: int, n_steps: int
) -> pd.DataFrame:
    """The table with the columns ``SCORES`` of noisy gradients ``(n_canaries,)``, taken one step at a time."""
    running = start_scores(claim, n_canaries)
    weights = replayed_weights(running.watch(gradients), config, n_canaries=n_canaries, n_steps=n_steps)
    return _table(running, weights)


def _table(running: RunningScores, weights: np.ndarray) -> pd.DataFrame:
    columns = (running.likelihood, running.total, final_scores(weights))
    return pd.DataFrame(dict(zip(SCORES, columns, strict=True)))


@contextmanager
def _before_each_step(entry: torch.Tensor, act: Callable[[list[torch.Tensor]], None]) -> Iterator[None]:
    """Calls ``act`` with all parameters before each step of the optimiser that holds ``entry``."""

    def hook(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if any(parameter is entry for parameter in held):
            act(held)

    handle = register_optimizer_step_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _gradient_of(entry: torch.Tensor) -> np.ndarray:
    assert entry.grad is not None  # privatise refuses parameters without one
    return entry.grad.detach().cpu().numpy()[0]


def _division_by_drawn(config: RunConfig, data: TrainingData) -> Callable[[list[torch.Tensor]], None]:
    """Puts the number of units in a step in the place of the public denominator; called once a step, in order."""
    specification = config.privacy
    assert specification is not None
    if config.randomness == "secret":
        raise UserError("denominator 'drawn' repeats the draws of a run, which needs randomness 'seeded'")
    streams = seeded_streams(config.seed)
    ids = np.arange(data.n_images) if data.patient_ids is None else data.patient_ids
    n_units = units_of(specification, ids).n_units
    steps = iter(range(specification.n_steps))

    def divide(parameters: list[torch.Tensor]) -> None:
        n_drawn = len(draw_units(specification, n_units, streams, next(steps)))
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(specification.expected_batch_size / max(1, n_drawn))

    return divide
