"""A quick estimate of epsilon and of the noise multiplier: milliseconds, for sliders and tables, never for a claim.

The privacy loss of one step is put on an even grid and composed with itself by one fast Fourier transform; the grid
is then moved so that the mean is that of the exact loss. Rounding is to the nearest point, not upwards: the result may
lie on either side of the truth. What is claimed comes from ``accounting.poisson`` and ``accounting.calibration``,
which round up.

Both directions of adding or removing one privacy unit are computed, and the larger epsilon counts.

Source:
    Composition by Fourier transform: Koskela, Jälkö & Honkela (2020), arXiv:1906.03049; the correction of the mean:
    Gopi, Lee & Wutschitz (2021), arXiv:2106.02848.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from dpcxr_core.accounting.calibration import check_target
from dpcxr_core.accounting.gaussian import gaussian_delta
from dpcxr_core.accounting.values import check_values
from dpcxr_core.config import UserError

# Probability that may be cut off or wrap around, over the smallest delta asked for.
_LOST = 1e-3
_QUADRATURE_POINTS = 1501
_LARGEST_GRID = 2**17
_NOISE_RANGE = (0.05, 1e6)


@dataclass(frozen=True)
class _Step:
    """The privacy loss of one step in one direction: its exact moments, and points of a quadrature.

    Attributes:
        losses: Loss at each point of the quadrature, in nats.
        weights: Their probabilities; they sum to 1.
        mean: Of the loss.
        std: Of the loss.
    """

    losses: np.ndarray
    weights: np.ndarray
    mean: float
    std: float


def quick_epsilon(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """An estimate of ``epsilon_pld``, within about 1 % of it. Arguments as there.

    Raises:
        UserError: A value is outside its range.
    """
    return float(quick_epsilons(noise_multiplier, sample_rate, n_steps, [delta])[0])


def quick_epsilons(noise_multiplier: float, sample_rate: float, n_steps: int, deltas: Sequence[float]) -> np.ndarray:
    """``quick_epsilon`` at several deltas for the price of one; the shape is that of ``deltas``."""
    for delta in deltas:
        check_values(noise_multiplier, sample_rate, n_steps, delta)
    lost = _LOST * min(deltas)
    found = [
        _epsilons(*_composed(noise_multiplier, sample_rate, n_steps, lost, adding=adding), np.asarray(deltas))
        for adding in (False, True)
    ]
    return np.maximum(*found)


def quick_noise_multiplier(*, target_epsilon: float, delta: float, sample_rate: float, n_steps: int) -> float:
    """An estimate of the noise multiplier that spends ``target_epsilon``; arguments as for the exact calibration.

    Raises:
        UserError: A value is outside its range, or the answer lies outside 0.05 to 1e6.
    """
    check_target(target_epsilon)
    check_values(1.0, sample_rate, n_steps, delta)

    def excess(log_noise: float) -> float:
        epsilon = quick_epsilon(math.exp(log_noise), sample_rate, n_steps, delta)
        return math.log(max(epsilon, 1e-12) / target_epsilon)

    start = math.log(gaussian_limit(target_epsilon, delta, sample_rate, n_steps))
    low, high = start - 0.05, start + 0.05
    while excess(high) > 0:
        low, high = high, high + 0.3
        _refuse_outside(high, target_epsilon)
    while excess(low) < 0:
        low, high = low - 0.3, low
        _refuse_outside(low, target_epsilon)
    return math.exp(brentq(excess, low, high, xtol=2e-4))


def gaussian_limit(target_epsilon: float, delta: float, sample_rate: float, n_steps: int) -> float:
    """The noise multiplier if the composed loss were normal: exact for a sample rate of 1, else a first guess.

    Source:
        Bu, Dong, Long & Su (2020), arXiv:1911.11607.
    """
    high = 1.0
    while gaussian_delta(target_epsilon, high) < delta:
        high *= 2
    mu = brentq(lambda mu: gaussian_delta(target_epsilon, mu) - delta, 1e-9, high, xtol=1e-12)
    if sample_rate == 1:
        return math.sqrt(n_steps) / mu
    return 1 / math.sqrt(math.log1p((mu / sample_rate) ** 2 / n_steps))


def _refuse_outside(log_noise: float, target_epsilon: float) -> None:
    low, high = _NOISE_RANGE
    if not low <= math.exp(log_noise) <= high:
        raise UserError(f"no noise multiplier from {low:g} to {high:g} spends target_epsilon {target_epsilon}")


def _one_step(noise_multiplier: float, sample_rate: float, reach: float, *, adding: bool) -> _Step:
    """The loss of one step, without what lies more than ``reach`` standard deviations out."""
    x = np.linspace(-reach * noise_multiplier, 1 + reach * noise_multiplier, _QUADRATURE_POINTS)
    losses = np.logaddexp(
        math.log1p(-sample_rate) if sample_rate < 1 else -np.inf,
        math.log(sample_rate) + (2 * x - 1) / (2 * noise_multiplier**2),
    )
    weights = np.exp(-((x / noise_multiplier) ** 2) / 2)
    if not adding:
        weights = (1 - sample_rate) * weights + sample_rate * np.exp(-(((x - 1) / noise_multiplier) ** 2) / 2)
    weights /= weights.sum()
    losses = -losses if adding else losses
    mean = float(weights @ losses)
    return _Step(losses, weights, mean, math.sqrt(float(weights @ (losses - mean) ** 2)))


def _cumulative(losses: np.ndarray, noise_multiplier: float, sample_rate: float, *, adding: bool) -> np.ndarray:
    """Chance that the loss of one step is at most each of ``losses``; the loss rises with the noisy sum ``x``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.expm1(-losses if adding else losses) / sample_rate
        x = np.where(ratio > -1, noise_multiplier**2 * np.log1p(ratio) + 0.5, -np.inf)
    if adding:
        return ndtr(-x / noise_multiplier)
    return (1 - sample_rate) * ndtr(x / noise_multiplier) + sample_rate * ndtr((x - 1) / noise_multiplier)


def _composed(
    noise_multiplier: float, sample_rate: float, n_steps: int, lost: float, *, adding: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Losses of all steps together, ascending, and their probabilities, in one direction."""
    step = _one_step(noise_multiplier, sample_rate, -float(ndtri(lost / n_steps)), adding=adding)
    low, high = _reach(step, n_steps, lost)
    # Few steps do not smooth the grid away, so that theirs must be finer.
    width = max(step.std / (6 + 60 / math.sqrt(n_steps)), (high - low) / _LARGEST_GRID)
    centre = round(step.mean / width)
    first = math.floor(step.losses.min() / width) - centre
    last = math.ceil(step.losses.max() / width) - centre
    n = fft.next_fast_len(max(math.ceil((high - low) / width), last - first) + 2, real=True)
    positions = np.arange(first, last + 1)
    edges = (np.arange(first, last + 2) - 0.5 + centre) * width
    masses = np.diff(_cumulative(edges, noise_multiplier, sample_rate, adding=adding))
    masses /= masses.sum()
    mean = float(masses @ positions)
    around = np.zeros(n)
    np.add.at(around, positions % n, masses)
    spectrum = fft.rfft(around)
    with np.errstate(divide="ignore", invalid="ignore"):
        powered = np.exp(n_steps * np.log(spectrum))
    powered[np.abs(spectrum) < 1e-300] = 0
    # The lowest point of the window, counted from the mean: what lies below comes round at the upper end.
    start = math.floor(low / width + n_steps * mean)
    together = np.roll(fft.irfft(powered, n), -start % n)
    from_mean = (start + np.arange(n) - n_steps * mean) * width
    return n_steps * step.mean + from_mean, together


def _reach(step: _Step, n_steps: int, lost: float) -> tuple[float, float]:
    """Distances below and above the mean of the composed loss beyond which less than ``lost`` lies (Chernoff)."""
    std = step.std * math.sqrt(n_steps)
    # The right slope of a normal loss is about 6 / std; that of rare large losses is about 1.
    slopes = np.geomspace(min(0.3, 1 / std), max(60.0, 20 / std), 24)

    def beyond(sign: float) -> float:
        away = sign * (step.losses - step.mean)
        largest = float(away.max())
        moments = np.exp(slopes[:, None] * (away - largest)) @ step.weights
        cumulants = np.log(np.maximum(moments, 1e-300)) + slopes * largest
        return float(np.min((n_steps * cumulants - math.log(lost)) / slopes))

    return -beyond(-1.0), beyond(1.0)


def _epsilons(losses: np.ndarray, probabilities: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """The epsilons at which the composed loss has ``deltas``: sum of ``p * (1 - exp(epsilon - loss))`` above them."""
    positive = losses > 0
    losses, probabilities = losses[positive], probabilities[positive]
    # What is above the k-th point, for k from -1 (everything) to the last (nothing).
    above = np.append(np.cumsum(probabilities[::-1])[::-1], 0.0)
    discounted = np.append(np.cumsum((probabilities * np.exp(-losses))[::-1])[::-1], 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        spent = above - np.exp(np.append(0.0, losses)) * discounted
    # Noise of the transform, far below any delta asked for, may break the order: the last crossing counts.
    at = [int(np.max(np.flatnonzero(spent > delta), initial=-1)) for delta in deltas]
    with np.errstate(over="ignore", divide="ignore"):
        return np.array(
            [0.0 if k < 0 else np.log((above[k] - delta) / discounted[k]) for k, delta in zip(at, deltas, strict=True)]
        )
