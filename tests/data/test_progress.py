import io

import pytest

from dpcxr_core.data import progress
from dpcxr_core.data.progress import progress_of


class _Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_without_a_terminal_there_is_a_line_a_minute_with_rate_and_time_left(clock, capsys):
    with progress_of("padchest", 10_000, 4_000) as advance:
        for _ in range(30):
            clock.now += 5
            advance(100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "padchest: 5,200 of 10,000 images, 20.0 a second, 4 min left",
        "padchest: 6,400 of 10,000 images, 20.0 a second, 3 min left",
    ]


def test_a_short_run_without_a_terminal_says_nothing(clock, capsys):
    with progress_of("padchest", 100, 0) as advance:
        clock.now += 59
        advance(100)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_begins_where_an_earlier_call_ended(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    with progress_of("padchest", 100, 40) as advance:
        advance(60)
    assert "padchest:" in terminal.getvalue()
    assert "40/100" in terminal.getvalue()
    assert "100/100" in terminal.getvalue()


def test_progress_that_is_not_shown_writes_nothing(clock, capsys):
    with progress_of("padchest", 100, 0, shown=False) as advance:
        clock.now += 600
        advance(50)
    assert capsys.readouterr().err == ""
