"""A lower bound on epsilon from one run: guesses about canaries that entered by fair coins."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom

from dpcxr_core.config import UserError

# How many canaries are guessed about, as shares of all: fixed before any score is seen. Half of the guesses are "was
# trained on", for the highest scores, half "was not". Few guesses suit little noise, many suit much.
GUESSED_SHARES = (0.05, 0.2, 0.5)
_LARGEST = 50.0


def epsilon_one_run(scores: np.ndarray, included: np.ndarray, delta: float, confidence: float = 0.95) -> float:
    """The largest epsilon that the guesses refute, at least 0: with ``confidence`` the true one is not below.

    Promise:
        Holds for every mechanism and every dependence between canaries; all that it takes is that each canary
        entered the training data by a fair coin of its own, and that scores are not computed from the coins.

    Args:
        scores: ``(n_canaries,)``, higher where the canary seems to have been trained on.
        included: ``(n_canaries,)`` bool, the coins.
        delta: The delta of the guarantee that is put to the test.
        confidence: Of the bound, in (0, 1).

    Raises:
        UserError: The arrays do not fit, or there are fewer than 20 canaries.

    Source:
        Steinke, Nasr & Jagielski (2023), Theorem 5.2 and Appendix D, arXiv:2305.08846; the three numbers of guesses
        share the error probability (Bonferroni).
    """
    order = order_of(scores, included)
    level = (1 - confidence) / len(GUESSED_SHARES)
    found = [0.0]
    for share in GUESSED_SHARES:
        half = max(1, round(share * len(order) / 2))
        n_right = int(included[order[-half:]].sum() + (~included[order[:half]]).sum())
        found.append(_largest_refuted(len(order), 2 * half, n_right, delta, level))
    return max(found)


def p_value(n_canaries: int, n_guesses: int, n_right: int, epsilon: float, delta: float) -> float:
    """Chance, at most, of ``n_right`` or more right guesses if the mechanism is (``epsilon``, ``delta``)-private.

    Source:
        Steinke, Nasr & Jagielski (2023), Theorem 5.2, arXiv:2305.08846.
    """
    chance = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(n_right - 1, n_guesses, chance))
    just_below = np.cumsum(binom.pmf(np.arange(n_right - 1, -1, -1), n_guesses, chance))
    steepest = float((just_below / np.arange(1, n_right + 1)).max(initial=0.0))
    return min(1.0, tail + 2 * n_canaries * delta * steepest)


def order_of(scores: np.ndarray, included: np.ndarray) -> np.ndarray:
    """Canaries by ascending score; ties in the order given, which says nothing about the coins.

    Raises:
        UserError: The arrays do not fit, a score is not a number, or there are fewer than 20 canaries.
    """
    if scores.ndim != 1 or scores.shape != included.shape or included.dtype != bool:
        raise UserError(f"scores and bool coins must be (n,); got {scores.shape} and {included.shape} {included.dtype}")
    if len(scores) < 20 or np.isnan(scores).any():
        raise UserError(f"an audit needs at least 20 canaries, each with a score; got {np.sum(~np.isnan(scores))}")
    return np.argsort(scores, kind="stable")


def _largest_refuted(n_canaries: int, n_guesses: int, n_right: int, delta: float, level: float) -> float:
    def excess(epsilon: float) -> float:
        return p_value(n_canaries, n_guesses, n_right, epsilon, delta) - level

    if excess(0.0) >= 0:
        return 0.0
    if excess(_LARGEST) < 0:  # of so few guesses that all of them are right with certainty
        return _LARGEST
    return float(brentq(excess, 0.0, _LARGEST, xtol=1e-6))
