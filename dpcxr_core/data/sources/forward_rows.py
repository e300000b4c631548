"""Rows of a compressed file that can only be read forwards, asked for one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Row = TypeVar("Row")


class ForwardRows(Generic[Row]):
    """Rows by number from a source that is read forwards: fast in rising order, right in any.

    A row that lies behind is reached by starting anew. Where reading fails, that row and all behind it are lost; the
    error is kept and raised for each of them, so that a damaged file is read through once and not once a row.

    Args:
        start: Opens the source and gives its rows from the first on; closes it when it is dropped.
    """

    def __init__(self, start: Callable[[], Iterator[Row]]) -> None:
        self._start = start
        self._rows = start()
        self._next = 0
        self._failure: tuple[int, Exception] | None = None

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
        if number < self._next:
            self._rows, self._next = self._start(), 0
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
