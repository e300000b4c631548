"""Loading that computing does not wait for: rows read in the order of the disk, one batch ahead."""

from __future__ import annotations

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
    # take copies whole rows and lets other threads run meanwhile
    return np.asarray(np.take(images, ascending, axis=0))[place]


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
