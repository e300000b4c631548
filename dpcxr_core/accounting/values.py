"""The numbers that every accountant takes or finds: their ranges, and how they are rounded, in one place."""

from __future__ import annotations

import math

from dpcxr_core.config import PrivacySpecification, UserError

RESOLUTION = 10_000  # steps per unit: what is found is rounded up to four decimals


def check_values(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> None:
    """Refuses what no accountant can mean.

    Raises:
        UserError: A value is outside its range; it is named.
    """
    if not 0 < noise_multiplier < math.inf:
        raise UserError(f"noise_multiplier must be positive and finite; got {noise_multiplier}")
    if not 0 < sample_rate <= 1:
        raise UserError(f"sample_rate is a probability in (0, 1]; got {sample_rate}. Pass a rate, not a batch size.")
    if n_steps < 1 or int(n_steps) != n_steps:
        raise UserError(f"n_steps must be a whole number of at least 1; got {n_steps}")
    if not 0 < delta < 1:
        raise UserError(f"delta is a probability in (0, 1); got {delta}")


def check_n_units(specification: PrivacySpecification, n_units: int) -> None:
    """Refuses a training set other than the one that ``specification`` was made for.

    Raises:
        UserError: The expected batch is not the sample rate times ``n_units``, to half a unit.
    """
    if not abs(specification.sample_rate * n_units - specification.expected_batch_size) < 0.5:
        raise UserError(
            f"sample_rate {specification.sample_rate:g} of {n_units} {specification.privacy_unit}s is not the expected "
            f"batch size of {specification.expected_batch_size}; make the specification with specification_for"
        )


def rounded_up(value: float) -> float:
    """``value``, or the next number of four decimals above it: of noise or of an epsilon, more is on the safe side.

    Example:
        >>> rounded_up(2.39121), rounded_up(0.5)
        (2.3913, 0.5)
    """
    return math.ceil(value * RESOLUTION) / RESOLUTION
