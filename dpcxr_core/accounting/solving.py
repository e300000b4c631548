"""Noise, steps, batch size or epsilon from the other three: the calibration turned round.

What is found never spends more than the target; the next step or unit would.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from dpcxr_core.accounting.calibration import (
    MOST_STEPS,
    calibrate_noise_multiplier,
    check_n_steps,
    check_target,
    sample_rate_of,
)
from dpcxr_core.accounting.certificate import PrivacyCertificate, certify
from dpcxr_core.accounting.deadline import Deadline
from dpcxr_core.accounting.poisson import LARGEST_EPSILON, epsilon_pld, epsilon_rdp
from dpcxr_core.accounting.values import rounded_up
from dpcxr_core.config import PrivacySpecification, UserError

# What can be solved for, in the words of ``dpcxr calibrate --solve``: the field of a problem that is then left out.
SOLVED_FOR = {
    "noise": "noise_multiplier",
    "steps": "n_steps",
    "batch": "expected_batch_size",
    "epsilon": "target_epsilon",
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Three of target epsilon, noise multiplier, expected batch size and steps; the fourth, left out, is asked for.

    Attributes:
        target_epsilon: Limit on epsilon, in (0, 100].
        noise_multiplier: Noise standard deviation over L2 sensitivity.
        expected_batch_size: In privacy units.
        n_steps: Number of steps, at most ``MOST_STEPS``.
        delta: Chance allowed for the guarantee to fail.
        n_units: Declared size of the training set in privacy units.
        max_grad_norm: As in ``PrivacySpecification``, like the rest.
        privacy_unit: Whose data one neighbour adds or removes.
        max_images_per_patient: For the patient unit, and only for it.
        clipping: "flat" or "automatic".
    """

    target_epsilon: float | None = None
    noise_multiplier: float | None = None
    expected_batch_size: int | None = None
    n_steps: int | None = None
    delta: float
    n_units: int
    max_grad_norm: float = 1.0
    privacy_unit: Literal["image", "patient"] = "image"
    max_images_per_patient: int | None = None
    clipping: Literal["flat", "automatic"] = "flat"

    def __post_init__(self) -> None:
        left_out = [name for name in SOLVED_FOR.values() if getattr(self, name) is None]
        if len(left_out) != 1:
            raise UserError(
                f"exactly one of {', '.join(SOLVED_FOR.values())} must be left out, to be solved for; left out: "
                f"{', '.join(left_out) or 'none'}"
            )
        if self.n_steps is not None:
            check_n_steps(self.n_steps)

    @property
    def unknown(self) -> str:
        """The field that is asked for."""
        (name,) = (name for name in SOLVED_FOR.values() if getattr(self, name) is None)
        return name


def solved_certificate(problem: Problem, time_limit: float = math.inf) -> PrivacyCertificate:
    """The certificate of the run that solves ``problem``.

    Args:
        problem: What is given and what is asked for.
        time_limit: Seconds, as in ``calibrate_noise_multiplier``.

    Raises:
        UserError: A value is outside its range, or there is no answer.
        TooSlowError: The time limit was reached.
        AccountantsDisagreeError: As from ``certify``.
    """
    values = {name: getattr(problem, name) for name in SOLVED_FOR.values()}
    draft = _specification(problem, values | {problem.unknown: 1})  # refuses a wrong choice before the search
    values[problem.unknown] = _solved(problem, draft, time_limit)
    return certify(_specification(problem, values), problem.n_units, values["target_epsilon"])


def _specification(problem: Problem, values: dict[str, Any]) -> PrivacySpecification:
    """The specification of ``problem`` with the four ``values``."""
    return PrivacySpecification(
        sample_rate=sample_rate_of(values["expected_batch_size"], problem.n_units, problem.privacy_unit),
        n_steps=values["n_steps"],
        expected_batch_size=values["expected_batch_size"],
        max_grad_norm=problem.max_grad_norm,
        noise_multiplier=values["noise_multiplier"],
        delta=problem.delta,
        privacy_unit=problem.privacy_unit,
        max_images_per_patient=problem.max_images_per_patient,
        clipping=problem.clipping,
    )


def _solved(problem: Problem, draft: PrivacySpecification, time_limit: float) -> float:
    """The unknown of ``problem``; ``draft`` holds what is known."""
    noise, rate, n_steps, delta = draft.accounted
    if problem.target_epsilon is None:
        return epsilon_rounded_up(noise, rate, n_steps, delta)
    limits = {"target_epsilon": problem.target_epsilon, "delta": delta, "time_limit": time_limit}
    if problem.unknown == "noise_multiplier":
        return calibrate_noise_multiplier(**limits, sample_rate=rate, n_steps=n_steps)
    if problem.unknown == "n_steps":
        return largest_n_steps(**limits, sample_rate=rate, noise_multiplier=noise)
    return largest_expected_batch_size(**limits, n_units=problem.n_units, n_steps=n_steps, noise_multiplier=noise)


def largest_n_steps(
    *, target_epsilon: float, delta: float, sample_rate: float, noise_multiplier: float, time_limit: float = math.inf
) -> int:
    """The most steps that spend at most ``target_epsilon``.

    Promise:
        ``epsilon_pld`` of the result is within the target, and that of one step more is above it, unless the result
        is ``MOST_STEPS``, beyond which nothing is looked at.

    Args:
        target_epsilon: Limit on epsilon, in (0, 100].
        delta: Chance allowed for the guarantee to fail, in (0, 1).
        sample_rate: Chance that one unit enters one step, in (0, 1].
        noise_multiplier: Noise standard deviation over L2 sensitivity, positive.
        time_limit: Seconds, as in ``calibrate_noise_multiplier``.

    Raises:
        UserError: A value is outside its range; one step is too many; or ``MOST_STEPS`` are within the
            target already by RDP.
        TooSlowError: The time limit was reached.
    """

    def values(n_steps: int) -> tuple[float, float, int, float]:
        return noise_multiplier, sample_rate, n_steps, delta

    check_target(target_epsilon)
    if epsilon_rdp(*values(MOST_STEPS)) <= target_epsilon:
        raise UserError(
            f"noise_multiplier {noise_multiplier:g} is within target_epsilon {target_epsilon} for any number of steps "
            f"up to {MOST_STEPS}; ask for less noise"
        )
    return _largest(values, target_epsilon, MOST_STEPS, "step", Deadline(time_limit))


def largest_expected_batch_size(
    *,
    target_epsilon: float,
    delta: float,
    n_units: int,
    n_steps: int,
    noise_multiplier: float,
    time_limit: float = math.inf,
) -> int:
    """The largest expected batch size that spends at most ``target_epsilon`` in ``n_steps``.

    Promise:
        ``epsilon_pld`` of the result is within the target, and that of one unit more is above it, unless the result
        is all of ``n_units``.

    Args:
        target_epsilon: Limit on epsilon, in (0, 100].
        delta: Chance allowed for the guarantee to fail, in (0, 1).
        n_units: Declared size of the training set in privacy units.
        n_steps: Number of steps, at least 1.
        noise_multiplier: Noise standard deviation over L2 sensitivity, positive.
        time_limit: Seconds, as in ``calibrate_noise_multiplier``.

    Raises:
        UserError: A value is outside its range, or an expected batch of one unit is too large.
        TooSlowError: The time limit was reached.
    """

    def values(expected_batch_size: int) -> tuple[float, float, int, float]:
        return noise_multiplier, sample_rate_of(expected_batch_size, n_units), n_steps, delta

    check_n_steps(n_steps)
    return _largest(values, target_epsilon, n_units, "unit in the expected batch", Deadline(time_limit))


def epsilon_rounded_up(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """``epsilon_pld``, rounded up to 4 decimals: the smallest target that a run may state. Arguments as there.

    Raises:
        UserError: A value is outside its range, or there are more than ``MOST_STEPS``.
    """
    check_n_steps(n_steps)
    return rounded_up(epsilon_pld(noise_multiplier, sample_rate, n_steps, delta))


def _largest(
    values: Callable[[int], tuple[float, float, int, float]],
    target_epsilon: float,
    most: int,
    counted: str,
    deadline: Deadline,
) -> int:
    """The largest count up to ``most`` whose ``values`` spend at most the target; epsilon rises with the count."""
    check_target(target_epsilon)

    def by_rdp(count: int) -> float:
        deadline.check(f"RDP at {count}")
        return epsilon_rdp(*values(count))

    def within(count: int) -> bool:
        deadline.check(f"at {count}")
        # what cannot be accounted for is not within; for all else RDP is above PLD and much faster
        return by_rdp(count) <= LARGEST_EPSILON and epsilon_pld(*values(count)) <= target_epsilon

    if not within(1):
        raise UserError(
            f"even one {counted} spends more than target_epsilon {target_epsilon}: by RDP {by_rdp(1):.3g}; ask for a "
            "larger epsilon, or more noise"
        )
    low = _bisected(lambda count: by_rdp(count) <= target_epsilon, 0, most) or 1
    while low > 1 and not within(low):  # the grid of PLD rounds up, and may pass RDP by a hair
        low = max(1, low - max(1, low // 200))
    reach = max(1, low // 10)
    while low < most and within(min(low + reach, most)):
        low, reach = min(low + reach, most), 2 * reach
    return _bisected(within, low, min(low + reach, most + 1) - 1)


def _bisected(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The largest count in [low, high] for which ``holds``, which it does at ``low`` and never again once it fails."""
    if low < high and holds(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
