from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import UserError
from dpcxr_core.data.storing.shards import WHOLE, Shard, shard_of_text, store_folder


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_shards_are_contiguous_whole_and_equally_long(n_rows, of):
    parts = [Shard(number, of).rows(n_rows) for number in range(1, of + 1)]
    assert [row for part in parts for row in part] == list(range(n_rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shard_has_a_folder_beside_the_store():
    assert Shard(3, 8).folder(Path("stores/cxr")) == Path("stores/cxr.shard-3-of-8")
    assert WHOLE.folder(Path("stores/cxr")) == Path("stores/cxr")
    assert store_folder(Path("cxr/")) == Path("cxr")


@pytest.mark.parametrize("out", ["", ".", "..", "/", "stores/.."])
def test_a_store_has_a_name_of_its_own(out):
    for ask in (store_folder, WHOLE.folder, Shard(1, 2).folder):
        with pytest.raises(UserError, match="cannot be a store"):
            ask(Path(out))


def test_a_shard_is_written_as_it_is_read():
    assert shard_of_text("3/8") == Shard(3, 8)
    assert str(Shard(3, 8)) == "3/8"


@pytest.mark.parametrize("text", ["0/8", "9/8", "3", "3/", "3-8", "a/b", "-1/8", "1/0", "3/8/9"])
def test_what_is_no_shard_is_refused_by_name(text):
    with pytest.raises(UserError, match=text):
        shard_of_text(text)
