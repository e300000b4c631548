"""Processes for work side by side: one thread each, and gone when the process that started them is."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context

_SECONDS_BETWEEN_LOOKS = 2.0
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_PR_SET_PDEATHSIG = 1  # of sys/prctl.h


def worker_pool(n_jobs: int, *, gpus: bool = True) -> ProcessPoolExecutor:
    """A pool of ``n_jobs`` fresh processes of one numerical thread each.

    Many runs of one thread beat one run of many threads on small networks. A worker whose parent was
    killed ends by itself within seconds, where the standard library would leave it waiting for ever.

    Args:
        n_jobs: Processes.
        gpus: Whether they may find the GPUs of this machine.
    """
    context = get_context("spawn")
    return ProcessPoolExecutor(n_jobs, mp_context=context, initializer=_begin, initargs=(os.getpid(), gpus))


def hide_gpus() -> None:
    """Has this process, and those that it starts, find no GPU; to be called before it looks for one."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _begin(parent: int, gpus: bool) -> None:
    if not gpus:
        hide_gpus()
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = "1"  # read when numpy and torch are first imported, which is later
    keep_freed_memory()
    end_with_parent(parent)


def end_with_parent(parent: int | None = None) -> None:
    """Ends this process within seconds once ``parent`` does, which is the process that started it unless given."""
    threading.Thread(target=_end_with, args=(parent or os.getppid(),), daemon=True).start()


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


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)
