"""Work shared out to processes, its results in order; an item whose code kills its process ends nobody else's work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from dpcxr_core.workers import worker_pool

Item = TypeVar("Item")
Result = TypeVar("Result")

_TASKS_A_JOB = 2  # one that is worked on and one that waits, so that no process does


def in_processes(
    work: Callable[[Sequence[Item]], list[Result]], tasks: Iterable[Sequence[Item]], jobs: int, crashed: Result
) -> Generator[list[Result]]:
    """The results of every task, in the order of the tasks, worked on in ``jobs`` processes.

    Promise:
        The same results for any ``jobs``. At most two tasks a job are held at once, so memory does not grow with
        their number. Where a process dies (a native decoder can do that to it), the items of its task are tried again
        one by one; only one that kills a process which it had to itself is given up.

    Args:
        work: A task's items -> their results; importable by name, as every process starts afresh.
        tasks: Taken from as processes become free.
        jobs: Processes, at least 1. One is a process of its own too: a crash would end the caller.
        crashed: The result of an item that killed its process.

    Raises:
        Exception: Whatever ``work`` raises; the tasks before it have been yielded.
    """
    coming = iter(tasks)
    waiting: deque[tuple[Sequence[Item], Future]] = deque()
    pool = worker_pool(jobs)
    try:
        while True:
            for task in islice(coming, _TASKS_A_JOB * jobs - len(waiting)):
                waiting.append((task, _submitted(pool, work, task)))
            if not waiting:
                return
            task, future = waiting.popleft()
            try:
                results = future.result()
            except BrokenProcessPool:  # of all that were under way; which of them was to blame is not said
                pool.shutdown()
                results = _one_by_one(work, task, crashed)
                pool = worker_pool(jobs)
                waiting = deque(
                    (each, done if _succeeded(done) else _submitted(pool, work, each)) for each, done in waiting
                )
            yield results
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, work: Callable, task: Sequence[Item]) -> Future:
    try:
        return pool.submit(work, task)
    except BrokenProcessPool as error:  # a task before it has killed a process and was not asked for yet
        future: Future = Future()
        future.set_exception(error)
        return future


def _succeeded(future: Future) -> bool:
    return future.done() and future.exception() is None


def _one_by_one(work: Callable[[Sequence[Item]], list[Result]], task: Sequence[Item], crashed: Result) -> list[Result]:
    results: list[Result] = []
    pool = worker_pool(1)
    try:
        for item in task:
            try:
                results += pool.submit(work, [item]).result()
            except BrokenProcessPool:
                results.append(crashed)
                pool.shutdown()
                pool = worker_pool(1)
    finally:
        pool.shutdown()
    return results
