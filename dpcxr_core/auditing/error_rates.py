"""Error rates of an attack with their confidence limits, and the certificates that these refute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from dpcxr_core.accounting.tradeoff import largest_tpr
from dpcxr_core.auditing.one_run import order_of
from dpcxr_core.config import PrivacySpecification, UserError


@dataclass(frozen=True)
class ErrorRates:
    """An attack at a few thresholds that were fixed before its scores were seen.

    Attributes:
        thresholds: ``(n,)`` scores at or above which the attack says "was trained on".
        tpr: ``(n,)`` found.
        fpr: ``(n,)`` found.
        tpr_low: ``(n,)`` lower confidence limits.
        fpr_high: ``(n,)`` upper confidence limits. All limits together hold with the confidence asked for.
    """

    thresholds: np.ndarray
    tpr: np.ndarray
    fpr: np.ndarray
    tpr_low: np.ndarray
    fpr_high: np.ndarray


def error_rates(
    scores: np.ndarray, included: np.ndarray, thresholds: Sequence[float], confidence: float = 0.95
) -> ErrorRates:
    """Rates at ``thresholds``, with limits that hold all at once with ``confidence``.

    The limits take the canaries to be independent of each other, as they are where each has a parameter of its own,
    an independent draw and independent noise. ``epsilon_one_run`` needs no such thing.

    Args:
        scores: ``(n_canaries,)``, higher where the canary seems to have been trained on.
        included: ``(n_canaries,)`` bool, of which some are true and some are false.
        thresholds: Chosen without these scores.
        confidence: In (0, 1), shared by all limits (Bonferroni).

    Source:
        Clopper & Pearson (1934), Biometrika 26(4), 404-413.
    """
    order_of(scores, included)
    n_in, n_out = int(included.sum()), int((~included).sum())
    if not (n_in and n_out and len(thresholds)):
        raise UserError(f"rates need canaries of both kinds and a threshold; got {n_in}, {n_out}, {len(thresholds)}")
    limits = np.asarray(thresholds, float)
    flagged = scores[:, None] >= limits
    hits, alarms = flagged[included].sum(0), flagged[~included].sum(0)
    level = (1 - confidence) / (2 * len(limits))
    low = np.where(hits > 0, beta.ppf(level, np.maximum(hits, 1), n_in - hits + 1), 0.0)
    high = np.where(alarms < n_out, beta.ppf(1 - level, alarms + 1, np.maximum(n_out - alarms, 1)), 1.0)
    return ErrorRates(limits, hits / n_in, alarms / n_out, low, high)


def refutes(rates: ErrorRates, claim: PrivacySpecification) -> bool:
    """Whether the attack does better than ``claim`` allows any attack: its sampling, noise and steps are not so."""
    bound = largest_tpr(rates.fpr_high, claim.noise_multiplier, claim.sample_rate, claim.n_steps)
    return bool((rates.tpr_low > bound).any())


def epsilon_of_rates(rates: ErrorRates, delta: float) -> float:
    """The largest epsilon that the rates refute at ``delta``, of any mechanism; at least 0.

    Source:
        Nasr et al. (2021), Section 3, arXiv:2101.04535.
    """
    found = [0.0]
    for tpr, fpr in zip(rates.tpr_low, rates.fpr_high, strict=True):
        if tpr > delta and fpr > 0:
            found.append(math.log((tpr - delta) / fpr))
        if 1 - fpr > delta and tpr < 1:
            found.append(math.log((1 - fpr - delta) / (1 - tpr)))
    return max(found)
