"""What one check of the privacy engine found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CheckResult:
    """One check: what was measured, and the limit it had to stay within.

    Attributes:
        name: What was checked.
        measured: The number found; NaN counts as failed.
        limit: The most that passes.
        passed: Whether ``measured`` is at most ``limit``.
        detail: What was compared, in a few words.
    """

    name: str
    measured: float
    limit: float
    passed: bool
    detail: str


def at_most(name: str, measured: float, limit: float, detail: str) -> CheckResult:
    """The result of a check that passes while ``measured`` is at most ``limit``."""
    return CheckResult(name, float(measured), limit, bool(measured <= limit), detail)


def worst_of(measured: Mapping[str, float]) -> str:
    """The name of the largest of ``measured``; NaN is larger than everything."""
    return max(measured, key=lambda name: math.inf if math.isnan(measured[name]) else measured[name])
