"""Checks of chance: the noise is Gaussian, of the right size and never twice the same; the draws are Poisson."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import torch
from scipy import stats
from torch import nn

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.privacy.check_result import CheckResult, at_most
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.sampling import poisson_draw
from dpcxr_core.privacy.streams import RandomStreams, seeded_streams

Draw = Callable[[PrivacySpecification, int, np.random.Generator], np.ndarray]
Mechanism = Callable[[list[nn.Parameter], PrivacySpecification, RandomStreams, int], None]

LARGEST_Z = 5.0  # false alarm about 6e-7


def check_noise(
    *,
    seed: int = 0,
    n_draws: int = 200_000,
    mechanism: Mechanism = privatise,
    device: torch.device | None = None,
) -> list[CheckResult]:
    """Noise on zero gradients: mean, variance, shape; new for each step, parameter and run; as z.

    The same step again must get the same noise, or a run that goes on from a checkpoint would not be the same run.

    Args:
        seed: Of the streams.
        n_draws: Entries of each of two parameters.
        mechanism: What adds the noise.
        device: Where the parameters are, as each device has a generator of its own; None for the CPU.
    """
    streams = seeded_streams(seed)

    def noise_of(run: RandomStreams, step: int) -> list[np.ndarray]:
        return _noise_of(mechanism, run, step, n_draws, device)

    noise = {(step, place): values for step in range(2) for place, values in enumerate(noise_of(streams, step))}
    first = noise[0, 0]
    other_run = noise_of(seeded_streams(seed + 1), 0)[0]
    again = noise_of(streams, 0)[0]

    def correlation(one: np.ndarray, other: np.ndarray) -> float:
        return abs((one * other).mean()) * math.sqrt(n_draws)

    pairs = {(one, other): correlation(noise[one], noise[other]) for one, other in combinations(noise, 2)}
    measured = {
        "noise mean": abs(first.mean()) * math.sqrt(n_draws),
        "noise variance": abs((first**2).mean() - 1) * math.sqrt(n_draws / 2),
        "noise shape": float(stats.norm.isf(stats.kstest(first, "norm").pvalue / 2)),
        "noise of two steps": max(z for (one, other), z in pairs.items() if one[0] != other[0]),
        "noise of two parameters": max(z for (one, other), z in pairs.items() if one[0] == other[0]),
        "noise of two runs": correlation(first, other_run),
        "noise of one step again": 0.0 if np.array_equal(first, again) else math.inf,
    }
    return [
        at_most(name, value, LARGEST_Z, f"|z| over {n_draws} draws on zero gradients")
        for name, value in measured.items()
    ]


def check_sampler(*, seed: int = 0, n_draws: int = 4000, sampler: Draw = poisson_draw) -> list[CheckResult]:
    """Poisson draws, one a step: mean and variance of their sizes, and evenness over the units, as z."""
    n_units, specification = 1000, _example_specification()
    rate, streams = specification.sample_rate, seeded_streams(seed)
    draws = [sampler(specification, n_units, streams.at("draws", step)) for step in range(n_draws)]
    sizes = np.array([len(draw) for draw in draws])
    uses = np.bincount(np.concatenate(draws), minlength=n_units)
    variance = n_units * rate * (1 - rate)
    uses_variance = n_draws * rate * (1 - rate)
    repeats = sum(len(draw) - len(np.unique(draw)) for draw in draws)
    measured = {
        "sampler mean": abs(sizes.mean() - n_units * rate) / math.sqrt(variance / n_draws),
        "sampler variance": abs(sizes.var() / variance - 1) * math.sqrt(n_draws / 2),
        "sampler evenness": abs(((uses - n_draws * rate) ** 2).mean() / uses_variance - 1) * math.sqrt(n_units / 2),
        "sampler repeats": math.inf if repeats else 0.0,
    }
    return [
        at_most(name, value, LARGEST_Z, f"|z| over {n_draws} draws of {n_units} units at rate {rate}")
        for name, value in measured.items()
    ]


def _noise_of(
    mechanism: Mechanism, streams: RandomStreams, step: int, n_draws: int, device: torch.device | None
) -> list[np.ndarray]:
    """What ``mechanism`` adds to two parameters of zero gradient in ``step``, in noise standard deviations."""
    specification = _example_specification()
    shapes = [(n_draws,), (2, n_draws // 2)]
    parameters = [nn.Parameter(torch.zeros(shape, device=device)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    mechanism(parameters, specification, streams, step)
    scale = specification.expected_batch_size / specification.noise_std
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return [gradient.cpu().double().flatten().numpy() * scale for gradient in gradients]


def _example_specification() -> PrivacySpecification:
    return PrivacySpecification(
        sample_rate=0.03, n_steps=1, expected_batch_size=30, max_grad_norm=0.7, noise_multiplier=1.3, delta=1e-5
    )
