"""Noise calibration: the least noise whose PLD epsilon stays within a target, and what every such search needs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from scipy.optimize import brentq

from dpcxr_core.accounting.deadline import Deadline
from dpcxr_core.accounting.poisson import (
    LARGEST_EPSILON,
    epsilon_pld,
    epsilon_rdp,
    loose_epsilon_rdp,
    pld_at_interval,
    pld_interval,
)
from dpcxr_core.accounting.values import RESOLUTION, rounded_up
from dpcxr_core.config import PrivacySpecification, UserError

MOST_STEPS = 1_000_000  # five times the longest run of the study; beyond, one evaluation takes minutes
_LARGEST_NOISE_MULTIPLIER = 1e5
_BRACKET = 0.2  # of the logarithm: how much less noise than RDP needs is tried at a time


def calibrate_noise_multiplier(
    *, target_epsilon: float, delta: float, sample_rate: float, n_steps: int, time_limit: float = math.inf
) -> float:
    """The smallest noise multiplier, rounded up to 4 decimals, that spends at most ``target_epsilon``.

    Promise:
        ``epsilon_pld`` of the result is never above ``target_epsilon``. Smallest among those that can be accounted
        for: where the chance of ever entering is within delta, any noise would do, and what RDP asks for is returned;
        where it nearly is, the search ends where RDP would be above 100.

    Args:
        target_epsilon: Limit on epsilon, in (0, 100].
        delta: Chance allowed for the guarantee to fail, in (0, 1).
        sample_rate: Chance that one unit enters one step, in (0, 1].
        n_steps: Number of steps, in [1, ``MOST_STEPS``].
        time_limit: Seconds; looked at between evaluations, which take seconds at most.

    Raises:
        UserError: A value is outside its range, or no noise multiplier up to 1e5 reaches the target.
        TooSlowError: The time limit was reached.
    """
    check_target(target_epsilon)
    check_n_steps(n_steps)
    deadline = Deadline(time_limit)
    setting = (sample_rate, n_steps, delta)
    enough = _enough_by_rdp(target_epsilon, *setting, deadline)
    if sample_rate < 1 and -math.expm1(n_steps * math.log1p(-sample_rate)) <= delta:
        return _verified(rounded_up(enough), target_epsilon, setting, deadline)

    @functools.cache
    def excess(log_noise: float) -> float:
        deadline.check(f"noise multipliers from {math.exp(log_noise):.4g}")
        noise_multiplier = math.exp(log_noise)
        interval = pld_interval(target_epsilon, noise_multiplier, sample_rate, n_steps)
        epsilon = pld_at_interval(noise_multiplier, *setting, interval)
        return math.log(max(epsilon, 1e-12) / target_epsilon)

    upper = math.log(enough)
    lower = upper - _BRACKET
    while excess(lower) <= 0:
        upper, lower = lower, lower - _BRACKET
        if epsilon_rdp(math.exp(lower), *setting) > LARGEST_EPSILON:
            return _verified(rounded_up(math.exp(upper)), target_epsilon, setting, deadline)
    if excess(upper) > 0:
        raise UserError(
            f"target_epsilon {target_epsilon} is too small to be resolved at {n_steps} steps; ask for a larger one"
        )
    root = math.exp(brentq(excess, lower, upper, xtol=1e-5))
    return _verified(rounded_up(root), target_epsilon, setting, deadline)


def check_target(target_epsilon: float) -> None:
    """Refuses a target that is no promise.

    Raises:
        UserError: It is not above 0, or above ``LARGEST_EPSILON``.
    """
    if not 0 < target_epsilon <= LARGEST_EPSILON:
        raise UserError(
            f"target_epsilon must be in (0, {LARGEST_EPSILON:g}], as no noise gives 0 and more than that promises "
            f"nothing; got {target_epsilon}"
        )


def check_n_steps(n_steps: int) -> None:
    """Refuses a run so long that its accounting would take minutes an evaluation.

    Raises:
        UserError: It has more than ``MOST_STEPS``.
    """
    if n_steps > MOST_STEPS:
        raise UserError(
            f"n_steps must be at most {MOST_STEPS}, as accounting for more takes too long; got {n_steps}. Ask for "
            "fewer steps, with a larger batch each"
        )


def least_noise(epsilon_of: Callable[[float], float], target_epsilon: float, most: float) -> float:
    """The least noise multiplier of four decimals with at most ``target_epsilon``; infinite if none up to ``most`` is.

    Promise:
        Only numbers of four decimals are tried, so that the result itself is within, and the one before it is not.

    Args:
        epsilon_of: Epsilon of a noise multiplier, 0 to infinity; the more noise, the less.
        target_epsilon: Limit on it, positive.
        most: Noise multiplier beyond which nothing is tried, at least 1.
    """

    @functools.cache
    def epsilon(units: int) -> float:
        return epsilon_of(units / RESOLUTION)

    limit, high = round(most * RESOLUTION), RESOLUTION
    while epsilon(high) > target_epsilon:
        if high == limit:
            return math.inf
        high = min(2 * high, limit)
    low = high // 2
    while low and epsilon(low) <= target_epsilon:
        high, low = low, low // 2
    n_tried = 0
    while high - low > 1:
        tried = (low + high) // 2
        # every third time the middle, so that no shape of the curve takes long
        if n_tried % 3 < 2 and low and math.isfinite(epsilon(low)) and epsilon(high) > 0:
            # epsilon is next to a power of the noise
            share = math.log(epsilon(low) / target_epsilon) / math.log(epsilon(low) / epsilon(high))
            tried = min(max(math.ceil(low * (high / low) ** share), low + 1), high - 1)
        low, high = (low, tried) if epsilon(tried) <= target_epsilon else (tried, high)
        n_tried += 1
    return high / RESOLUTION


def _verified(
    noise_multiplier: float, target_epsilon: float, setting: tuple[float, int, float], deadline: Deadline
) -> float:
    """``noise_multiplier``, or a few steps of its last decimal more: whose epsilon stays within the target."""
    while (epsilon := epsilon_pld(noise_multiplier, *setting)) > target_epsilon:
        # Another grid, or the root's tolerance.
        deadline.check(f"noise multipliers from {noise_multiplier:.4f}")
        noise_multiplier = rounded_up(noise_multiplier * (1 + (epsilon / target_epsilon - 1) / 2) + 1e-6)
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
    time_limit: float = math.inf,
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
        time_limit: Seconds, as in ``calibrate_noise_multiplier``.

    Raises:
        UserError: A value is outside its range; the batch is larger than the data; the target is out of reach.
        TooSlowError: The time limit was reached.
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
    sample_rate = sample_rate_of(expected_batch_size, n_units, privacy_unit)
    noise_multiplier = calibrate_noise_multiplier(
        target_epsilon=target_epsilon, delta=delta, sample_rate=sample_rate, n_steps=n_steps, time_limit=time_limit
    )
    return replace(draft, sample_rate=sample_rate, noise_multiplier=noise_multiplier)


def sample_rate_of(expected_batch_size: int, n_units: int, privacy_unit: str = "image") -> float:
    """Chance that one of ``n_units`` enters a step of ``expected_batch_size``.

    Raises:
        UserError: There are no units, or fewer than the batch expects, or the batch expects none.
    """
    if n_units < 1:
        raise UserError(f"n_units must be at least 1; got {n_units}")
    if not 1 <= expected_batch_size <= n_units:
        raise UserError(
            f"expected_batch_size must be at least 1 and at most the number of {privacy_unit}s, {n_units}; "
            f"got {expected_batch_size}"
        )
    return expected_batch_size / n_units


def _enough_by_rdp(target_epsilon: float, sample_rate: float, n_steps: int, delta: float, deadline: Deadline) -> float:
    """A noise multiplier that is enough by RDP, and so by PLD, and not much more than that needs."""
    high = 1.0
    while (epsilon := loose_epsilon_rdp(high, sample_rate, n_steps, delta)) > target_epsilon:
        deadline.check(f"noise multipliers from {high:g}")
        high *= 2
        if high > _LARGEST_NOISE_MULTIPLIER:
            raise UserError(
                f"no noise multiplier up to {_LARGEST_NOISE_MULTIPLIER:g} reaches target_epsilon {target_epsilon} at "
                f"delta {delta:g}, sample_rate {sample_rate:g} and {n_steps} steps: epsilon is still {epsilon:.2g}; "
                "ask for a larger epsilon or delta, fewer steps or a smaller batch"
            )
    low = high / 2
    while loose_epsilon_rdp(low, sample_rate, n_steps, delta) <= target_epsilon:
        deadline.check(f"noise multipliers from {low:g}")
        high, low = low, low / 2
    while high / low > 1.01:
        deadline.check(f"noise multipliers from {low:g} to {high:g}")
        middle = math.sqrt(high * low)
        if loose_epsilon_rdp(middle, sample_rate, n_steps, delta) > target_epsilon:
            low = middle
        else:
            high = middle
    return high
