"""Passes over the units: what sampling and the accounting of samplers with passes must count alike."""

from __future__ import annotations

import math


def batches_per_pass(sample_rate: float) -> int:
    """Whole batches that fit into one pass.

    Example:
        >>> batches_per_pass(0.3), batches_per_pass(1 / 49)
        (3, 49)
    """
    return math.floor(1 / sample_rate * (1 + 1e-12))  # one over a rounded 1/49 is a little below 49
