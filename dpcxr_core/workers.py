"""Processes for work side by side: one thread each, and gone when the process that started them is."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext
from multiprocessing.forkserver import ensure_running
from typing import Any, TypeVar

Value = TypeVar("Value")

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
_SECONDS_BETWEEN_LOOKS = 2.0
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_PR_SET_PDEATHSIG = 1  # of sys/prctl.h


def worker_pool(n_jobs: int, *, gpus: bool = True) -> ProcessPoolExecutor:
    """A pool of ``n_jobs`` processes of one numerical thread each, which have computed nothing yet.

    Many runs of one thread beat one run of many threads on small networks. A worker whose parent was
    killed ends by itself at once, where the standard library would leave it waiting for ever.

    Args:
        n_jobs: Processes.
        gpus: Whether they may find the GPUs of this machine.
    """
    initial = (dict(os.environ), gpus)
    return ProcessPoolExecutor(n_jobs, mp_context=_context(), initializer=_begin, initargs=initial)


def each_by_itself(
    pool_of: Callable[[int], Executor], n_jobs: int, call: Callable[..., Value], arguments: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[int, Future[Value]]]:
    """Every call, as it ends, by its place in ``arguments``.

    A worker that is killed, as for memory, breaks its pool, and with it all calls that have not ended: these are made
    again, one at a time and each in a pool of its own, so that it is the only one to fail.

    Args:
        pool_of: Makes a pool of so many workers, as ``worker_pool`` does.
        n_jobs: Workers side by side.
        call: What is called.
        arguments: Of each call.
    """
    broken: list[int] = []
    with pool_of(n_jobs) as pool:
        places: dict[Future[Value], int] = {}
        for place, each in enumerate(arguments):
            try:
                places[pool.submit(call, *each)] = place
            except BrokenExecutor:  # by one that was submitted before
                broken.append(place)
        for future in as_completed(places):
            if isinstance(future.exception(), BrokenExecutor):
                broken.append(places[future])
            else:
                yield places[future], future
    for place in sorted(broken):
        with pool_of(1) as pool:
            again = pool.submit(call, *arguments[place])
        yield place, again


def _context() -> BaseContext:
    """On Linux, workers are forks of a server, which imports what this process has imported of the package,
    but for its publishing.

    To import torch and timm takes a worker six seconds. The server starts with the first pool of this process, and
    later ones find it as it is; it has no threads and has computed nothing. One that somebody else started is as it is.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    ours = [name for name in list(sys.modules) if name.startswith(f"{__package__}.")]
    # what draws takes a second to import, and no worker draws; those that run chapters import for themselves
    context.set_forkserver_preload([name for name in ours if not name.startswith(f"{__package__}.publishing.")])
    before = dict(os.environ)
    try:
        os.environ.update(ONE_THREAD)  # read when numpy and torch are imported
        ensure_running()
    finally:
        for name in ONE_THREAD:
            os.environ.pop(name)
        os.environ.update(before)
    return context


def hide_gpus() -> None:
    """Has this process, and those that it starts, find no GPU; to be called before it looks for one."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _begin(environment: dict[str, str], gpus: bool) -> None:
    os.environ.clear()  # the server has that of its start
    os.environ.update(environment | ONE_THREAD)
    if not gpus:
        hide_gpus()
    keep_freed_memory()
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent.join,), daemon=True).start()


def end_with_parent() -> None:
    """Ends this process within seconds once the process that started it does."""
    threading.Thread(target=_end_after, args=(partial(_wait_for_parent, os.getppid()),), daemon=True).start()


def killed_with_parent() -> None:
    """Has the kernel send SIGTERM to this process when its parent ends; for programs that are not ours. Linux only."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def keep_freed_memory() -> None:
    """Lets this process keep the memory that it frees, until it ends; for processes that only train.

    The next step needs the same memory again, and fetching it from the kernel page by page takes up to a tenth of
    a step. With glibc only; another C library does as it likes.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        mallopt(option, 2**31 - 1)


def _wait_for_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _end_after(wait: Callable[[], object]) -> None:
    wait()
    os._exit(1)
