"""A limit on the time of a search: a message instead of a wait without end."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from dpcxr_core.config import UserError


class TooSlowError(UserError):
    """A search was stopped at its time limit."""


@dataclass(frozen=True)
class Deadline:
    """When a search that starts now must have ended.

    A search looks at it between evaluations, each of which takes seconds at most, as their grids are bounded.

    Attributes:
        seconds: Time allowed; infinite for no limit.
    """

    seconds: float = math.inf
    _started: float = field(default_factory=lambda: time.monotonic(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise UserError(f"the time limit must be above 0 seconds; got {self.seconds}")

    def check(self, so_far: str) -> None:
        """Nothing, in time; else ``TooSlowError`` with what is known ``so_far``."""
        if time.monotonic() - self._started > self.seconds:
            raise TooSlowError(
                f"no answer within the time limit of {self.seconds:g} seconds ({so_far}); allow more time, or ask for "
                "fewer steps or a larger epsilon"
            )
