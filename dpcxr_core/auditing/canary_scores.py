"""What an attacker makes of the entries that canaries move: a score for each canary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from dpcxr_core.config import PrivacySpecification, RunConfig, UserError
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.sampling import draw_units
from dpcxr_core.privacy.streams import RandomStreams
from dpcxr_core.training.optimisation import learning_rate_at, make_optimizer


@dataclass
class RunningScores:
    """Scores of an attacker who sees every step, added up as the steps come, so that no run is too long for memory.

    Attributes:
        claim: The mechanism believed in.
        likelihood: ``(n_canaries,)`` log-likelihood ratios of "was trained on": the best use of all steps, if
            ``claim`` is true.
        total: ``(n_canaries,)`` sums over the steps: need no belief about the mechanism.
    """

    claim: PrivacySpecification
    likelihood: np.ndarray
    total: np.ndarray

    def add(self, gradient: np.ndarray) -> None:
        """One more step, ``(n_canaries,)``."""
        self.likelihood += step_scores(gradient, self.claim)
        self.total += gradient

    def watch(self, gradients: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """``gradients`` as they are, each added on its way."""
        for gradient in gradients:
            self.add(gradient)
            yield gradient


def start_scores(claim: PrivacySpecification, n_canaries: int) -> RunningScores:
    """Before the first step: no canary seems more likely than another."""
    return RunningScores(claim, np.zeros(n_canaries), np.zeros(n_canaries))


def step_scores(gradient: np.ndarray, claim: PrivacySpecification) -> np.ndarray:
    """Log-likelihood ratios of "was trained on" by one step; the shape of ``gradient``.

    Args:
        gradient: ``(n_canaries,)``, the noisy gradient of each canary's entry as the optimiser saw it.
        claim: Gives noise, sample rate, clip norm and expected batch size.
    """
    sums = gradient.astype(float) * claim.expected_batch_size / claim.max_grad_norm
    moved = (2 * sums - 1) / (2 * claim.noise_multiplier**2)
    rate = claim.sample_rate
    if rate == 1:
        return moved
    return np.logaddexp(np.log1p(-rate), np.log(rate) + moved)


def final_scores(weights: np.ndarray) -> np.ndarray:
    """``(n_canaries,)`` minus the final weight of each canary's entry: descent moves it down."""
    return -weights.astype(float)


def simulated_gradients(
    specification: PrivacySpecification, included: np.ndarray, streams: RandomStreams
) -> Iterator[np.ndarray]:
    """``(n_canaries,)`` float32 noisy gradients of canaries, step by step, without images or a network.

    The draws are those of ``privacy.sampling``, the noise and the denominator those of ``privacy.mechanism``.

    Args:
        specification: The mechanism.
        included: ``(n_canaries,)`` bool, of which some are true.
        streams: All chance of it.
    """
    present = np.flatnonzero(included)
    entry = nn.Parameter(torch.zeros(len(included)))
    for step in range(specification.n_steps):
        entry.grad = torch.zeros(len(included))
        entry.grad[present[draw_units(specification, len(present), streams, step)]] = specification.max_grad_norm
        privatise([entry], specification, streams, step)
        yield entry.grad.numpy()


def replayed_weights(
    gradients: Iterable[np.ndarray], config: RunConfig, *, n_canaries: int, n_steps: int
) -> np.ndarray:
    """``(n_canaries,)`` final weights that the optimiser of ``config`` makes of ``gradients``, from zeros.

    Args:
        gradients: Of each of ``n_steps`` steps, ``(n_canaries,)``; taken one at a time.
        config: Gives the optimiser and its learning rates.
        n_canaries: Entries of a gradient.
        n_steps: On which the learning rates depend.

    Raises:
        UserError: ``config`` has no optimiser.
    """
    if config.optimisation is None:
        raise UserError("the public-only reference does not train, so there is nothing to audit")
    holder = nn.Linear(n_canaries, 1, bias=False)
    nn.init.zeros_(holder.weight)
    optimizer = make_optimizer(holder, config.optimisation)
    for step, gradient in enumerate(gradients):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, n_steps, config.optimisation)
        holder.weight.grad = torch.from_numpy(gradient.astype(np.float32))[None]
        optimizer.step()
    return holder.weight.detach().numpy()[0].copy()


def thresholds_for(scores_in: np.ndarray, scores_out: np.ndarray) -> tuple[float, float, float]:
    """Three thresholds from simulated scores: an FPR of 5 %, a TPR of 95 %, and where both errors are equally often."""
    pooled = np.sort(np.concatenate([scores_in, scores_out]))
    misses = np.searchsorted(np.sort(scores_in), pooled) / len(scores_in)
    alarms = 1 - np.searchsorted(np.sort(scores_out), pooled) / len(scores_out)
    equal = float(pooled[int(np.argmin(np.abs(misses - alarms)))])
    return float(np.quantile(scores_out, 0.95)), equal, float(np.quantile(scores_in, 0.05))
