"""Rows of a compressed file that can only be read forwards, asked for one by one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from dpcxr_core.data.pictures.picture import UnreadableImageError
from dpcxr_core.data.sources.picture_files import leaves_source

Row = TypeVar("Row")


def row_in_file(source: Path, path: str, row: re.Pattern[str]) -> tuple[Path, re.Match[str]]:
    """The file, and the row in it, that a ``path`` such as ``archive.npz#train/17`` names.

    Args:
        source: Folder that the file lies in.
        path: From a table: not to be trusted.
        row: What stands behind the ``#``.

    Raises:
        UnreadableImageError: No such file lies in the source, or no row is named.
    """
    name, _, behind = path.partition("#")
    match = row.fullmatch(behind)
    if leaves_source(name) or match is None or not (source / name).is_file():
        raise UnreadableImageError("names no row of a file in the source")
    return source / name, match


class ForwardRows(Generic[Row]):
    """Rows by number from a source that is read forwards: fast in rising order, right in any.

    A row that lies behind is reached by starting anew. Where reading fails, that row and all behind it are lost; the
    error is kept and raised for each of them, so that a damaged file is read through once and not once a row. In
    another process, as a forked one, the source is opened anew: the two would share, and move, one file position.

    Args:
        start: Opens the source and gives its rows from the first on; closes it when it is dropped.
    """

    def __init__(self, start: Callable[[], Iterator[Row]]) -> None:
        self._start = start
        self._begin()
        self._failure: tuple[int, Exception] | None = None

    def _begin(self) -> None:
        self._rows, self._next, self._process = self._start(), 0, os.getpid()

    def row(self, number: int) -> Row:
        """Row ``number``, counted from 0.

        Raises:
            IndexError: There is no such row.
            Exception: Whatever reading raised at this row or before it.
        """
        if number < 0:
            raise IndexError(f"no row {number}")
        if self._failure and number >= self._failure[0]:
            raise self._failure[1]
        if number < self._next or self._process != os.getpid():
            self._begin()
        try:
            while True:
                row = next(self._rows)
                self._next += 1
                if self._next > number:
                    return row
        except StopIteration:
            self._failure = (self._next, IndexError(f"no row {number}; there are {self._next}"))
        except Exception as error:
            self._failure = (self._next, error)
        raise self._failure[1]
