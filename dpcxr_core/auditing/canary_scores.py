"""What an attacker makes of the entries that canaries move: a score for each canary."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dpcxr_core.config import PrivacySpecification, RunConfig, UserError
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.sampling import draw_units
from dpcxr_core.privacy.streams import RandomStreams
from dpcxr_core.training.optimisation import learning_rate_at, make_optimizer


def step_scores(gradients: np.ndarray, claim: PrivacySpecification) -> np.ndarray:
    """``(n_canaries,)`` log-likelihood ratios of "was trained on": the best use of all steps, if ``claim`` is true.

    Args:
        gradients: ``(n_steps, n_canaries)``, the noisy gradient of each canary's entry as the optimiser saw it.
        claim: Gives noise, sample rate, clip norm and expected batch size.
    """
    sums = gradients.astype(float) * claim.expected_batch_size / claim.max_grad_norm
    moved = (2 * sums - 1) / (2 * claim.noise_multiplier**2)
    rate = claim.sample_rate
    if rate == 1:
        return moved.sum(0)
    return np.logaddexp(np.log1p(-rate), np.log(rate) + moved).sum(0)


def sum_scores(gradients: np.ndarray) -> np.ndarray:
    """``(n_canaries,)`` sums over the steps: needs no belief about the mechanism."""
    return gradients.sum(0, dtype=float)


def final_scores(weights: np.ndarray) -> np.ndarray:
    """``(n_canaries,)`` minus the final weight of each canary's entry: descent moves it down."""
    return -weights.astype(float)


def simulated_gradients(
    specification: PrivacySpecification, included: np.ndarray, streams: RandomStreams
) -> np.ndarray:
    """``(n_steps, n_canaries)`` float32 noisy gradients of canaries, without images or a network.

    The draws are those of ``privacy.sampling``, the noise and the denominator those of ``privacy.mechanism``.

    Args:
        specification: The mechanism.
        included: ``(n_canaries,)`` bool, of which some are true.
        streams: All chance of it.
    """
    found = np.zeros((specification.n_steps, len(included)), np.float32)
    present = np.flatnonzero(included)
    entry = nn.Parameter(torch.zeros(len(included)))
    for step in range(specification.n_steps):
        entry.grad = torch.zeros(len(included))
        entry.grad[present[draw_units(specification, len(present), streams, step)]] = specification.max_grad_norm
        privatise([entry], specification, streams, step)
        found[step] = entry.grad.numpy()
    return found


def replayed_weights(gradients: np.ndarray, config: RunConfig) -> np.ndarray:
    """``(n_canaries,)`` final weights that the optimiser of ``config`` makes of ``gradients``, from zeros.

    Raises:
        UserError: ``config`` has no optimiser.
    """
    if config.optimisation is None:
        raise UserError("the public-only reference does not train, so there is nothing to audit")
    holder = nn.Linear(gradients.shape[1], 1, bias=False)
    nn.init.zeros_(holder.weight)
    optimizer = make_optimizer(holder, config.optimisation)
    for step, gradient in enumerate(gradients):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, len(gradients), config.optimisation)
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
