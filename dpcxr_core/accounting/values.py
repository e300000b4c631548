"""Ranges of the numbers that every accountant takes, checked in one place."""

from __future__ import annotations

import math

from dpcxr_core.config import UserError


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
