"""Batches of a fixed size, drawn anew in each step: epsilon from above and from below, for replacing one unit.

A replaced unit moves the sum of its batch by up to two clip norms. Worse, a unit that enters pushes another one
out, so the batch tells more about it than a Poisson batch would: the price is about that of Poisson sampling with
half the noise. (The event of dp_accounting for this sampler takes the noise over the sensitivity, two clip norms;
with the noise over one clip norm it would claim far too little.)
"""

from __future__ import annotations

import math

import numpy as np
from dp_accounting.pld import pld_pmf
from scipy.special import log_ndtr

from dpcxr_core.accounting.poisson_variants import epsilon_poisson_at_least
from dpcxr_core.accounting.values import check_values

_REACH = 9.0  # standard deviations of the privacy loss of one batch with the unit in it
_LARGEST_GRID = 100_000


def epsilon_fixed_size(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """Upper bound on epsilon where every step draws batches of one size without replacement, by composing PLDs.

    Args:
        noise_multiplier: Noise standard deviation over the clip norm, positive.
        sample_rate: Batch size over number of units, in (0, 1].
        n_steps: Number of steps, at least 1.
        delta: Chance allowed for the guarantee to fail, in (0, 1).

    Raises:
        UserError: A value is outside its range.

    Source:
        One step: Balle, Barthe & Gaboardi (2018), Theorem 9, arXiv:1807.01647, in both directions. Composition:
        Zhu, Dong & Wang (2022), arXiv:2106.08567, and Doroshenko et al. (2022), arXiv:2207.04380.
    """
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    mu = 2 / noise_multiplier
    largest = float(np.logaddexp(0.0, math.log(sample_rate) + mu**2 / 2 + _REACH * mu))
    interval = max(1e-4, largest / _LARGEST_GRID)
    places = np.arange(math.ceil(largest / interval) + 1)
    epsilons = places * interval
    above = _delta_of_one_step(epsilons, mu, sample_rate)
    # below zero, the delta of one direction follows from that of the other
    below = (-np.expm1(-epsilons) + np.exp(-epsilons) * above)[:0:-1]
    law = pld_pmf.create_pmf_pessimistic_connect_dots(
        interval, np.concatenate([-places[:0:-1], places]), np.concatenate([below, above])
    )
    return float(law.self_compose(n_steps).get_epsilon_for_delta(delta))


def epsilon_fixed_size_at_least(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """Proved lower bound for the same; NaN if out of reach. Arguments as there.

    Let the gradient of every other unit be minus that of the one in question: a batch with the unit is then two clip
    norms away from all others. Replacing it by one like the others leaves no such batch. This is Poisson sampling
    with half the noise.

    Source:
        Lebeda et al. (2024), arXiv:2405.20769, on the same effect.
    """
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    return epsilon_poisson_at_least(noise_multiplier / 2, sample_rate, n_steps, delta)


def _delta_of_one_step(epsilons: np.ndarray, mu: float, sample_rate: float) -> np.ndarray:
    """``(n_epsilons,)`` deltas of one step, at epsilons of at least zero."""
    inner = np.log1p(np.expm1(epsilons) / sample_rate)
    gaussian = np.exp(log_ndtr(mu / 2 - inner / mu)) - np.exp(inner + log_ndtr(-mu / 2 - inner / mu))
    return sample_rate * np.maximum(gaussian, 0.0)
