"""A limit on time: a message instead of a wait without end."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from dpcxr_core.config import UserError

_Answer = TypeVar("_Answer")
_LONGEST_ALARM = 1e7  # seconds; some systems refuse an alarm of years
_CURE = "allow more time, or ask for fewer steps or a larger epsilon"


class TooSlowError(UserError):
    """A computation was stopped at its time limit."""


class _Alarm(BaseException):
    """Time is up; no ``Exception``, so that no accountant takes it for a failure of its own and goes on."""


def ended_after(seconds: float, compute: Callable[[], _Answer]) -> _Answer:
    """What ``compute()`` returns, or an error once ``seconds`` have passed, wherever it is then.

    An alarm interrupts the main thread, at the end of the library call it is in. Where there is none (another thread,
    or Windows), nothing interrupts, and only a search that has a ``Deadline`` of its own looks at the time.

    Args:
        seconds: Time allowed; infinite for no limit.
        compute: Must leave nothing half done where it is interrupted.

    Raises:
        TooSlowError: The time is up.
        UserError: ``seconds`` is not above 0.
    """
    Deadline(seconds)
    has_alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not has_alarm or seconds > _LONGEST_ALARM:
        return compute()

    def ring(*_: object) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        # below a microsecond the alarm would be none; it rings again, should a destructor have swallowed the first
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6), 1.0)
        return compute()
    except _Alarm:
        raise TooSlowError(f"no answer within the time limit of {seconds:g} seconds; {_CURE}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Deadline:
    """When a search that starts now must have ended.

    A search looks at it between evaluations, each of which takes seconds at most for runs of up to ``MOST_STEPS``.

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
            raise TooSlowError(f"no answer within the time limit of {self.seconds:g} seconds ({so_far}); {_CURE}")
