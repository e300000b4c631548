import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dpcxr_core.data.storing.in_processes import in_processes
from dpcxr_core.provenance import PROJECT_FOLDER


def _squares(numbers):
    """Squares, slowest first; a negative number kills the process as a native decoder's fault does."""
    for number in numbers:
        if number < 0:
            os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(0.02 * (sum(numbers) % 3))
    return [number**2 for number in numbers]


def _wrong(numbers):
    raise OSError(5, f"the disk failed at {numbers[0]}")


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_the_order_of_their_tasks(jobs):
    tasks = [[3 * n, 3 * n + 1, 3 * n + 2] for n in range(12)]
    results = list(in_processes(_squares, iter(tasks), jobs, None))
    assert results == [[number**2 for number in task] for task in tasks]


@pytest.mark.parametrize("jobs", [1, 2])
def test_only_the_items_that_kill_their_process_are_given_up(jobs):
    tasks = [[1, 2], [3, -1, 4], [5], [-2], [6, 7]]
    results = list(in_processes(_squares, tasks, jobs, "crashed"))
    assert results == [[1, 4], [9, "crashed", 16], [25], ["crashed"], [36, 49]]


def test_tasks_are_taken_only_as_they_are_worked_on():
    taken = []

    def tasks():
        for n in range(50):
            taken.append(n)
            yield [n]

    results = in_processes(_squares, tasks(), 2, None)
    next(results)
    assert len(taken) <= 4
    results.close()


def test_no_task_gives_no_result():
    assert list(in_processes(_squares, [], 2, None)) == []


def test_what_the_work_raises_ends_the_results():
    with pytest.raises(OSError, match="the disk failed at 7"):
        list(in_processes(_wrong, [[7], [8]], 2, None))


_PARENT = """
import sys, time
from tests.data.storing.test_in_processes import _pids
from dpcxr_core.data.storing.in_processes import in_processes
if __name__ == "__main__":
    results = in_processes(_pids, [[0]] * 1000, 2, None)
    print(next(results)[0], flush=True)
    time.sleep(60)
"""


def _pids(items):
    return [os.getpid() for _ in items]


def test_processes_end_when_their_parent_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], cwd=PROJECT_FOLDER, stdout=subprocess.PIPE, text=True
    ) as parent:
        worker = Path(f"/proc/{int(parent.stdout.readline())}")
        assert worker.exists()
        parent.kill()
    deadline = time.monotonic() + 20
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not worker.exists()
