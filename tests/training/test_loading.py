import mmap
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.training import loading
from dpcxr_core.training.loading import LoadAhead, announce, read_rows


@settings(derandomize=True, deadline=None)
@given(rows=st.lists(st.integers(0, 11), max_size=30))
def test_rows_come_in_the_order_asked_for_repeats_and_all(rows):
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 2), np.uint8)
    found = read_rows(images, np.array(rows, np.int64))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, images[rows] if rows else images[:0])


def test_rows_of_a_memory_map_are_copied_into_memory_and_each_is_read_once(tmp_path):
    np.save(tmp_path / "images.npy", np.arange(24, dtype=np.uint8).reshape(6, 2, 2))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    found = read_rows(images, np.array([4, 1, 4]))
    assert type(found) is np.ndarray
    assert not np.shares_memory(found, images)
    np.testing.assert_array_equal(found, images[[4, 1, 4]])


def test_reading_some_rows_does_not_read_the_whole_file(tmp_path):
    # a file with a hole of 64 GiB: reading it all, or as much memory, would fail
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**36)
    images = np.memmap(tmp_path / "large", np.uint8, "r", shape=(2**24, 64, 64))
    assert read_rows(images, np.array([2**24 - 1, 0])).shape == (2, 64, 64)


class _Recording(mmap.mmap):
    told = ()

    def madvise(self, option, start, length):
        assert option == mmap.MADV_WILLNEED
        self.told = (*self.told, (start, length))


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="this system cannot be told")
def test_every_page_of_the_rows_is_announced_and_no_other(tmp_path):
    side, header = mmap.PAGESIZE // 2, 128  # rows of four pages, moved by the header
    (tmp_path / "file").write_bytes(bytes(header + 6 * side * 8))
    with (tmp_path / "file").open("rb") as file:
        told = _Recording(file.fileno(), 0, access=mmap.ACCESS_READ)
    images = np.ndarray.__new__(np.memmap, (6, 8, side), np.uint8, buffer=told, offset=header)
    images.offset = header
    announce(images, np.array([0, 5]))
    row, page = 8 * side, mmap.PAGESIZE
    assert told.told == ((0, header + row), (5 * row // page * page, header + row))
    assert all(start % page == 0 for start, _ in told.told)
    announce(images[2:], np.array([0]))  # a part, whose place in the file is not known
    announce(np.asarray(images), np.array([0]))
    assert len(told.told) == 2


def test_everything_is_loaded_once_in_order_by_one_other_thread():
    threads = set()

    def load(item):
        threads.add(threading.get_ident())
        return 10 * item

    with LoadAhead(load, iter(range(50))) as loaded:
        assert list(loaded) == [10 * item for item in range(50)]
        assert list(loaded) == []
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_next_item_is_loaded_while_the_last_one_is_used_and_no_further():
    begun = [threading.Event() for _ in range(5)]

    def load(item):
        begun[item].set()
        return item

    with LoadAhead(load, range(5)) as loaded:
        for item in range(3):
            assert next(loaded) == item
            assert begun[item + 1].wait(timeout=20)  # nobody has asked for it yet
            assert not begun[item + 2].is_set()


@pytest.mark.parametrize("where", ["load", "items"])
def test_errors_surface_where_the_item_is_asked_for(where):
    def items():
        yield 0
        yield 1
        if where == "items":
            raise OSError("the disk is gone")
        yield 2

    def load(item):
        if item == 2:
            raise OSError("the disk is gone")
        return item

    with LoadAhead(load, items()) as loaded:
        assert [next(loaded), next(loaded)] == [0, 1]
        with pytest.raises(OSError, match="the disk is gone"):
            next(loaded)


def _loading_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("loading")]


class _StopError(Exception):
    pass


def _use_one_and_stop():
    with LoadAhead(lambda item: item, range(3)) as loaded:
        next(loaded)
        raise _StopError


def test_thread_ends_with_the_block_however_it_ends():
    with LoadAhead(lambda item: item, iter(int, 1)) as loaded:  # endless
        next(loaded)
        assert _loading_threads()
    assert not _loading_threads()
    with pytest.raises(_StopError):
        _use_one_and_stop()
    assert not _loading_threads()


def test_only_waiting_counts_as_waiting(monkeypatch):
    now, asked, loaded_ahead = [0.0], threading.Event(), threading.Event()

    def clock():
        asked.set()
        return now[0]

    def load(item):
        if item == 0:
            assert asked.wait(timeout=20)  # the consumer has begun to wait
            now[0] += 5
        else:
            loaded_ahead.set()
        return item

    monkeypatch.setattr(loading.time, "perf_counter", clock)
    with LoadAhead(load, range(2)) as loaded:
        assert next(loaded) == 0
        assert loaded.seconds_waited == 5
        assert loaded_ahead.wait(timeout=20)
        now[0] += 100  # the consumer computes
        assert next(loaded) == 1
        assert loaded.seconds_waited == 5
