import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.data.sources.forward_rows import ForwardRows


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
