"""Loading that computing does not wait for: rows read in the order of the disk, one batch ahead."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")


def read_rows(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``images[rows]`` in memory, each row read once and front to back, as disks like it.

    Args:
        images: ``(n, height, width)``; may be memory-mapped, and is never read as a whole.
        rows: ``(n_rows,)`` integers in ``[0, n)`` in any order, repeats allowed.
    """
    ascending, place = np.unique(rows, return_inverse=True)
    announce(images, ascending)
    # take copies whole rows and lets other threads run meanwhile
    return np.asarray(np.take(images, ascending, axis=0))[place]


def announce(images: np.ndarray, rows: np.ndarray) -> None:
    """Tell the system that ``rows`` of a whole memory-mapped file are read next, so that the disk brings them at once.

    Without it the system learns of each page when it is touched, and the disk brings one after the other. Does nothing
    where ``images`` lie in memory, or are a part of a file.
    """
    file = images.base
    if not isinstance(images, np.memmap) or not isinstance(file, mmap.mmap) or not hasattr(mmap, "MADV_WILLNEED"):
        return
    row_bytes = images[0].nbytes
    for row in rows.tolist():
        start = images.offset + row * row_bytes
        page = start // mmap.PAGESIZE * mmap.PAGESIZE
        file.madvise(mmap.MADV_WILLNEED, page, start + row_bytes - page)


class LoadAhead(Generic[Item, Loaded]):
    """Iterates over ``load(item)`` of each item, in order; the next one is loaded while the last one is used.

    Use it as a context manager: one background thread draws items and loads, and ends with the block, also where
    the block ends before the items do. What goes wrong in the thread is raised where its result was asked for.

    Attributes:
        seconds_waited: Time that the consumer has spent waiting, so far.
    """

    def __init__(self, load: Callable[[Item], Loaded], items: Iterable[Item]) -> None:
        self.seconds_waited = 0.0
        self._load, self._items = load, iter(items)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loading")
        self._next: Future[list[Loaded]] = self._thread.submit(self._load_next)

    def _load_next(self) -> list[Loaded]:
        """One loaded item, or none at the end."""
        for item in self._items:
            return [self._load(item)]
        return []

    def __iter__(self) -> Iterator[Loaded]:
        return self

    def __next__(self) -> Loaded:
        started = time.perf_counter()
        try:
            loaded = self._next.result()
        finally:
            self.seconds_waited += time.perf_counter() - started
        if not loaded:
            raise StopIteration
        self._next = self._thread.submit(self._load_next)
        return loaded[0]

    def __enter__(self) -> LoadAhead[Item, Loaded]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
