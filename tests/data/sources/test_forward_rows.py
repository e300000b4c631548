import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.data.pictures.picture import UnreadableImageError
from dpcxr_core.data.sources import forward_rows
from dpcxr_core.data.sources.forward_rows import ForwardRows, row_in_file


class _Source:
    """Ten rows, counting how often it is opened and how far it is read; it may break at a row."""

    def __init__(self, breaks_at=None):
        self.opened, self.read, self.breaks_at = 0, 0, breaks_at

    def start(self):
        self.opened += 1
        for number in range(10):
            self.read += 1
            if number == self.breaks_at:
                raise EOFError("cut off")
            yield number * 11


def test_rising_rows_cost_one_pass():
    source = _Source()
    rows = ForwardRows(source.start)
    assert [rows.row(number) for number in (0, 3, 4, 9)] == [0, 33, 44, 99]
    assert (source.opened, source.read) == (1, 10)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 9)))
def test_any_order_gives_the_right_rows(numbers):
    rows = ForwardRows(_Source().start)
    assert [rows.row(number) for number in numbers] == [number * 11 for number in numbers]


def test_damaged_source_loses_the_rows_from_there_on_and_is_not_read_again_for_each():
    source = _Source(breaks_at=4)
    rows = ForwardRows(source.start)
    for number in (7, 8, 9, 4):
        with pytest.raises(EOFError, match="cut off"):
            rows.row(number)
    assert (source.opened, source.read) == (1, 5)
    assert rows.row(3) == 33


@pytest.mark.parametrize("number", [10, 11, -1])
def test_row_that_is_not_there_is_an_index_error(number):
    rows = ForwardRows(_Source().start)
    with pytest.raises(IndexError, match="no row"):
        rows.row(number)
    assert rows.row(9) == 99


def test_another_process_opens_the_source_anew(monkeypatch):
    """A forked worker that read on from its parent's file position would give wrong rows."""
    source = _Source()
    rows = ForwardRows(source.start)
    assert rows.row(3) == 33
    monkeypatch.setattr(forward_rows.os, "getpid", lambda: -1)
    assert [rows.row(5), rows.row(6)] == [55, 66]
    assert source.opened == 2


def test_a_row_is_named_by_a_file_in_the_source_and_what_the_pattern_allows(tmp_path):
    (tmp_path / "a.bin").touch()
    (tmp_path / "source").mkdir()
    (tmp_path / "source/b.bin").touch()
    file, row = row_in_file(tmp_path / "source", "b.bin#17", re.compile(r"\d+"))
    assert (file, row[0]) == (tmp_path / "source/b.bin", "17")
    for path in ("../a.bin#1", str(tmp_path / "a.bin#1"), "c.bin#1", "b.bin#", "b.bin", "b.bin#x", "b.bin#1#2", "#1"):
        with pytest.raises(UnreadableImageError, match="names no row of a file in the source"):
            row_in_file(tmp_path / "source", path, re.compile(r"\d+"))
