"""How far a long run is: a bar on a terminal, a line a minute anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 60.0


@contextmanager
def progress_of(name: str, n_images: int, n_done: int, shown: bool = True) -> Iterator[Callable[[int], object]]:
    """A function to be told of every further number of images; it writes rate and time left to stderr.

    A log file or a notebook gets whole lines, as a bar that redraws itself fills them with its traces. The rate is
    that of this call: what an earlier call had done does not flatter it.

    Args:
        name: What is being made.
        n_images: How many there will be.
        n_done: How many were done before.
        shown: Whether anything is written.
    """
    if not shown:
        yield lambda n_more: None
    elif sys.stderr.isatty():
        with tqdm(total=n_images, initial=n_done, desc=name, unit="image") as bar:
            yield bar.update
    else:
        yield _Lines(name, n_images, n_done)


class _Lines:
    def __init__(self, name: str, n_images: int, n_done: int) -> None:
        self.name, self.n_images, self.n_before, self.n_done = name, n_images, n_done, n_done
        self.started = self.last = time.monotonic()

    def __call__(self, n_more: int) -> None:
        self.n_done += n_more
        now = time.monotonic()
        if now - self.last < SECONDS_BETWEEN_LINES:
            return
        self.last = now
        rate = (self.n_done - self.n_before) / (now - self.started)
        minutes = (self.n_images - self.n_done) / rate / 60 if rate else float("nan")
        print(
            f"{self.name}: {self.n_done:,} of {self.n_images:,} images, {rate:,.1f} a second, {minutes:,.0f} min left",
            file=sys.stderr,
            flush=True,
        )
