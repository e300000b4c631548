import pytest

from dpcxr_core.accounting import deadline
from dpcxr_core.accounting.deadline import Deadline, TooSlowError
from dpcxr_core.config import UserError


def test_deadline_is_silent_in_time_and_then_says_how_far_it_came(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: now[0])
    limit = Deadline(60)
    now[0] = 160.0
    limit.check("at 7 steps")
    now[0] = 160.1
    with pytest.raises(TooSlowError, match="60 seconds .at 7 steps.; allow more time"):
        limit.check("at 7 steps")


def test_no_deadline_never_ends(monkeypatch):
    unlimited = Deadline()
    monkeypatch.setattr(deadline.time, "monotonic", lambda: 1e12)
    unlimited.check("")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_limit_that_is_no_time_is_refused(seconds):
    with pytest.raises(UserError, match="above 0 seconds"):
        Deadline(seconds)
