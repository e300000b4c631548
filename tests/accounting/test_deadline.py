import signal
import threading
import time

import pytest

from dpcxr_core.accounting import deadline
from dpcxr_core.accounting.deadline import Deadline, TooSlowError, ended_after
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
    with pytest.raises(UserError, match="above 0 seconds"):
        ended_after(seconds, lambda: 1)


def _without_end():
    while True:
        try:
            time.sleep(10)
        except Exception:  # as an accountant does that takes any failure for its own
            continue


@pytest.mark.parametrize("seconds", [0.05, 1e-9])
def test_computation_that_never_looks_at_the_time_is_ended_and_leaves_no_alarm(seconds):
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TooSlowError, match=f"time limit of {seconds:g} seconds; allow more time"):
        ended_after(seconds, _without_end)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before


@pytest.mark.parametrize("seconds", [60.0, 1e12, float("inf")])
def test_computation_that_ends_in_time_gives_its_answer_or_its_error(seconds):
    assert ended_after(seconds, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        ended_after(seconds, lambda: 1 // 0)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_other_threads_compute_without_an_alarm():
    found = []
    thread = threading.Thread(target=lambda: found.append(ended_after(60, lambda: 7)))
    thread.start()
    thread.join()
    assert found == [7]
