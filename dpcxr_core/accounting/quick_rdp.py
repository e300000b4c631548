"""Renyi accounting of many noise multipliers at once: the numbers of ``accounting.poisson.epsilon_rdp``, sooner.

For tables and sliders that say what Renyi accounting would ask for. Orders and conversion are those of dp_accounting,
so that only rounding differs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln

from dpcxr_core.accounting.calibration import check_target
from dpcxr_core.accounting.values import check_values
from dpcxr_core.config import UserError

# Orders of dp_accounting: those with a fraction by quadrature, whole ones by the binomial theorem.
_FRACTIONAL = np.array([1 + tenth / 10 for tenth in range(1, 100) if tenth % 10])
_WHOLE = np.array([*range(2, 64), 128, 256, 512, 1024])
_REACH = 12.0  # standard deviations
_QUADRATURE_POINTS = 1201
_NOISE_RANGE = (0.05, 1e6)
_LARGEST_EXPONENT = 30.0  # beyond it, one is nothing beside the exponential


def quick_epsilons_rdp(
    noise_multipliers: Sequence[float], sample_rate: float, n_steps: int, deltas: Sequence[float]
) -> np.ndarray:
    """``epsilon_rdp`` of each noise multiplier at each delta, shape (n noise multipliers, n deltas).

    Raises:
        UserError: A value is outside its range.

    Source:
        Mironov, Talwar & Zhang (2019), arXiv:1908.10530; conversion: Canonne, Kamath & Steinke (2020),
        arXiv:2004.00010, Proposition 12.
    """
    for noise_multiplier in noise_multipliers:
        for delta in deltas:
            check_values(noise_multiplier, sample_rate, n_steps, delta)
    orders = np.concatenate([_FRACTIONAL, _WHOLE])
    found = np.empty((len(noise_multipliers), len(deltas)))
    for row, noise_multiplier in enumerate(noise_multipliers):
        cumulants = (
            orders * (orders - 1) / (2 * noise_multiplier**2)
            if sample_rate == 1
            else np.concatenate(
                [_fractional_cumulants(noise_multiplier, sample_rate), _whole_cumulants(noise_multiplier, sample_rate)]
            )
        )
        for column, delta in enumerate(deltas):
            epsilons = (n_steps * cumulants - np.log(delta * orders)) / (orders - 1) + np.log1p(-1 / orders)
            found[row, column] = max(0.0, float(epsilons.min()))
    return found


def quick_noise_multiplier_rdp(*, target_epsilon: float, delta: float, sample_rate: float, n_steps: int) -> float:
    """The noise multiplier whose RDP epsilon is ``target_epsilon``: what a study that uses RDP adds.

    Raises:
        UserError: A value is outside its range, or no noise multiplier from 0.05 to 1e6 spends the target.
    """
    low, high = _NOISE_RANGE
    check_target(target_epsilon)

    def excess(log_noise: float) -> float:
        epsilon = quick_epsilons_rdp([math.exp(log_noise)], sample_rate, n_steps, [delta])[0, 0]
        return math.log(max(float(epsilon), 1e-12) / target_epsilon)

    if not excess(math.log(low)) > 0 > excess(math.log(high)):
        raise UserError(f"no noise multiplier from {low:g} to {high:g} spends target_epsilon {target_epsilon} by RDP")
    return math.exp(brentq(excess, math.log(low), math.log(high), xtol=2e-4))


def _fractional_cumulants(noise_multiplier: float, sample_rate: float) -> np.ndarray:
    """``log E[(P / Q) ** order]`` under ``Q``, one step, by the trapezoidal rule."""
    x = np.linspace(-_REACH * noise_multiplier, _FRACTIONAL.max() + _REACH * noise_multiplier, _QUADRATURE_POINTS)
    log_ratio = np.logaddexp(math.log1p(-sample_rate), math.log(sample_rate) + (2 * x - 1) / (2 * noise_multiplier**2))
    log_weights = -((x / noise_multiplier) ** 2) / 2 + math.log(
        (x[1] - x[0]) / (noise_multiplier * math.sqrt(2 * math.pi))
    )
    exponents = _FRACTIONAL[:, None] * log_ratio
    found = np.empty(len(_FRACTIONAL))
    small = exponents.max(axis=1) <= _LARGEST_EXPONENT
    # Much noise leaves moments so near to one that one must be taken off before they are added up.
    found[small] = np.log1p(np.expm1(exponents[small]) @ np.exp(log_weights))
    summed = exponents[~small] + log_weights
    largest = summed.max(axis=1)
    found[~small] = largest + np.log(np.exp(summed - largest[:, None]).sum(axis=1))
    return found


def _whole_cumulants(noise_multiplier: float, sample_rate: float) -> np.ndarray:
    found = np.empty(len(_WHOLE))
    for position, order in enumerate(_WHOLE):
        k = np.arange(2, order + 1)
        exponents = k * (k - 1) / (2 * noise_multiplier**2)
        terms = (
            gammaln(order + 1)
            - gammaln(k + 1)
            - gammaln(order - k + 1)
            + k * math.log(sample_rate)
            + (order - k) * math.log1p(-sample_rate)
            + np.where(
                exponents > _LARGEST_EXPONENT,
                exponents,
                np.log(np.expm1(np.minimum(exponents, _LARGEST_EXPONENT))),
            )
        )
        found[position] = np.logaddexp(0.0, terms.max() + math.log(np.exp(terms - terms.max()).sum()))
    return found
