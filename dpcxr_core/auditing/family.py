"""A lower bound on epsilon among mechanisms of one family: the claimed sampling and steps, any noise."""

from __future__ import annotations

import math

from dpcxr_core.accounting.tradeoff import largest_tpr, trade_off
from dpcxr_core.auditing.error_rates import ErrorRates
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
    if not _explains(low, rates, claim):
        return math.inf
    if _explains(high, rates, claim):
        return 0.0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _explains(middle, rates, claim) else (low, middle)
    return trade_off(_noise(high, claim), claim.sample_rate, claim.n_steps).epsilon(claim.delta)


def _noise(place: int, claim: PrivacySpecification) -> float:
    return claim.noise_multiplier * 2 ** (place / _PER_DOUBLING)


def _explains(place: int, rates: ErrorRates, claim: PrivacySpecification) -> bool:
    bound = largest_tpr(rates.fpr_high, _noise(place, claim), claim.sample_rate, claim.n_steps)
    return bool((rates.tpr_low <= bound).all())
