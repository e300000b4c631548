"""The closed form: Gaussian noise where every unit enters every step. No library, no bound, exact."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr

from dpcxr_core.accounting.values import check_values


def epsilon_gaussian(noise_multiplier: float, n_steps: int, delta: float) -> float:
    """Exact epsilon when every unit enters every step (``sample_rate`` 1): no library, no bound.

    Steps of one Gaussian compose to a single one with the noise multiplier over the square root of their number.

    Source:
        Balle & Wang (2018), Theorem 8, arXiv:1805.06530.
    """
    check_values(noise_multiplier, 1.0, n_steps, delta)
    mu = math.sqrt(n_steps) / noise_multiplier
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    upper = 1.0
    while gaussian_delta(upper, mu) > delta:
        upper *= 2
    return float(brentq(lambda epsilon: gaussian_delta(epsilon, mu) - delta, 0.0, upper, xtol=1e-12))


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Exact delta at ``epsilon`` of one Gaussian with L2 sensitivity ``mu`` times its noise."""
    first = log_ndtr(mu / 2 - epsilon / mu)
    second = epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    return float(np.exp(first) - np.exp(second))
