"""A lower bound on epsilon among mechanisms of one family: the claimed sampling and steps, any noise."""

from __future__ import annotations

import math
from dataclasses import replace

from dpcxr_core.accounting.tradeoff import trade_off
from dpcxr_core.auditing.error_rates import ErrorRates, refutes
from dpcxr_core.config import PrivacySpecification

# Noise multipliers are tried at claim * 2**(k / 32), 2 % apart: audits of one claim then share their curves.
_PER_DOUBLING = 32
_MOST, _LEAST = 8 * _PER_DOUBLING, -5 * _PER_DOUBLING


def epsilon_in_family(rates: ErrorRates, claim: PrivacySpecification) -> float:
    """Epsilon at the largest noise multiplier, rounded up by 2 %, that still explains the attack's success.

    The family: Poisson sampling at the claimed rate, the claimed number of steps, Gaussian noise of any size. Within
    it the true epsilon is not below, with the confidence of ``rates``. A mechanism outside it, as with a unit that is
    not clipped, has no epsilon here; the number then says how much less noise would leak as much.

    Args:
        rates: Of an attack on the run.
        claim: Gives sample rate, steps and delta.

    Returns:
        At least 0; infinity where not even a thirty-second of the claimed noise would leak so much.
    """
    low, high = _LEAST, _MOST
    if refutes(rates, _member(low, claim)):
        return math.inf
    if not refutes(rates, _member(high, claim)):
        return 0.0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if refutes(rates, _member(middle, claim)) else (middle, high)
    return trade_off(_member(high, claim).noise_multiplier, claim.sample_rate, claim.n_steps).epsilon(claim.delta)


def _member(place: int, claim: PrivacySpecification) -> PrivacySpecification:
    return replace(claim, noise_multiplier=claim.noise_multiplier * 2 ** (place / _PER_DOUBLING))
