"""Noise calibration: the least noise whose PLD epsilon stays within a target."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from scipy.optimize import brentq

from dpcxr_core.accounting.poisson import (
    LARGEST_EPSILON,
    epsilon_pld,
    epsilon_rdp,
    pld_at_interval,
    pld_interval,
)
from dpcxr_core.config import PrivacySpecification, UserError

_LARGEST_NOISE_MULTIPLIER = 1e5
_RESOLUTION = 1e4  # steps per unit: noise multipliers are rounded up to four decimals


def calibrate_noise_multiplier(*, target_epsilon: float, delta: float, sample_rate: float, n_steps: int) -> float:
    """The smallest noise multiplier, rounded up to 4 decimals, that spends at most ``target_epsilon``.

    Promise:
        ``epsilon_pld`` of the result is never above ``target_epsilon``.

    Args:
        target_epsilon: Limit on epsilon, in (0, 100].
        delta: Chance allowed for the guarantee to fail, in (0, 1).
        sample_rate: Chance that one unit enters one step, in (0, 1].
        n_steps: Number of steps, at least 1.

    Raises:
        UserError: A value is outside its range, or no noise multiplier up to 1e5 reaches the target.
    """
    if not 0 < target_epsilon <= LARGEST_EPSILON:
        raise UserError(f"target_epsilon must be in (0, {LARGEST_EPSILON:g}]; got {target_epsilon}")
    enough = _enough_by_rdp(target_epsilon, delta, sample_rate, n_steps)

    def excess(log_noise: float) -> float:
        noise_multiplier = math.exp(log_noise)
        interval = pld_interval(target_epsilon, noise_multiplier, sample_rate, n_steps)
        epsilon = pld_at_interval(noise_multiplier, sample_rate, n_steps, delta, interval)
        return math.log(max(epsilon, 1e-12) / target_epsilon)

    upper = math.log(enough)
    lower = upper - 0.2
    while excess(lower) <= 0:
        upper, lower = lower, lower - 0.2
    if excess(upper) > 0:
        raise UserError(
            f"target_epsilon {target_epsilon} is too small to be resolved at {n_steps} steps; ask for a larger one"
        )
    root = math.exp(brentq(excess, lower, upper, xtol=1e-5))
    noise_multiplier = _rounded_up(root)
    while (epsilon := epsilon_pld(noise_multiplier, sample_rate, n_steps, delta)) > target_epsilon:
        # Another grid, or the root's tolerance: at most a few steps of the last decimal.
        noise_multiplier = _rounded_up(noise_multiplier * (1 + (epsilon / target_epsilon - 1) / 2) + 1e-6)
    return noise_multiplier


def specification_for(
    *,
    target_epsilon: float,
    delta: float,
    n_units: int,
    expected_batch_size: int,
    n_steps: int,
    max_grad_norm: float,
    privacy_unit: Literal["image", "patient"] = "image",
    max_images_per_patient: int | None = None,
    clipping: Literal["flat", "automatic"] = "flat",
) -> PrivacySpecification:
    """The privacy specification that spends at most ``target_epsilon`` on ``n_units`` privacy units.

    The sample rate is decided here, once: ``expected_batch_size / n_units``. ``n_units`` is thereby declared
    public; it is used for nothing else.

    Args:
        target_epsilon: Limit on epsilon, in (0, 100].
        delta: Chance allowed for the guarantee to fail, in (0, 1).
        n_units: Declared size of the training set in privacy units: images, or patients.
        expected_batch_size: Divisor of the noisy sum, in privacy units.
        n_steps: Number of steps, at least 1.
        max_grad_norm: Clip norm, in gradient units.
        privacy_unit: Whose data one neighbour adds or removes.
        max_images_per_patient: Most images of one patient in one step; for the patient unit, and only for it.
        clipping: As in ``PrivacySpecification``. The noise does not depend on it.

    Raises:
        UserError: A value is outside its range; the batch is larger than the data; the target is out of reach.
    """
    draft = PrivacySpecification(  # a wrong choice is refused here, before the search for the noise
        sample_rate=1.0,
        n_steps=n_steps,
        expected_batch_size=expected_batch_size,
        max_grad_norm=max_grad_norm,
        noise_multiplier=1.0,
        delta=delta,
        privacy_unit=privacy_unit,
        max_images_per_patient=max_images_per_patient,
        clipping=clipping,
    )
    if n_units < 1:
        raise UserError(f"n_units must be at least 1; got {n_units}")
    if expected_batch_size > n_units:
        raise UserError(
            f"expected_batch_size must be at most the number of {privacy_unit}s, {n_units}; got {expected_batch_size}"
        )
    sample_rate = expected_batch_size / n_units
    noise_multiplier = calibrate_noise_multiplier(
        target_epsilon=target_epsilon, delta=delta, sample_rate=sample_rate, n_steps=n_steps
    )
    return replace(draft, sample_rate=sample_rate, noise_multiplier=noise_multiplier)


def _enough_by_rdp(target_epsilon: float, delta: float, sample_rate: float, n_steps: int) -> float:
    """A noise multiplier that is enough by RDP, and so by PLD, and not much more than that needs."""
    high = 1.0
    while epsilon_rdp(high, sample_rate, n_steps, delta) > target_epsilon:
        high *= 2
        if high > _LARGEST_NOISE_MULTIPLIER:
            raise UserError(
                f"no noise multiplier up to {_LARGEST_NOISE_MULTIPLIER:g} reaches target_epsilon {target_epsilon}; "
                "ask for a larger epsilon or delta, fewer steps or a smaller batch"
            )
    low = high / 2
    while epsilon_rdp(low, sample_rate, n_steps, delta) <= target_epsilon:
        high, low = low, low / 2
    while high / low > 1.01:
        middle = math.sqrt(high * low)
        if epsilon_rdp(middle, sample_rate, n_steps, delta) > target_epsilon:
            low = middle
        else:
            high = middle
    return high


def _rounded_up(noise_multiplier: float) -> float:
    return math.ceil(noise_multiplier * _RESOLUTION) / _RESOLUTION
