import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.data.store import checksums_of
from dpcxr_core.data.storing.store_finishing import npy_header
from dpcxr_core.data.storing.store_journal import append_chunk, cut_to_good, read_journal

SIZE = 16
HEADER = npy_header(0, SIZE)
IMAGES = np.random.default_rng(0).integers(0, 256, (9, SIZE, SIZE), dtype=np.uint8)


def _files(folder):
    return (folder / "journal.jsonl").open("a+b"), (folder / "images.npy").open("a+b")


def _written(folder):
    """Three chunks: rows 10 to 14 with one refused, 14 to 18, 18 to 20; nine images."""
    journal, images = _files(folder)
    assert cut_to_good(journal, images, HEADER, SIZE, 10) == 10
    append_chunk(journal, images, IMAGES[:3], {11: "empty file"}, rows_done=14)
    append_chunk(journal, images, IMAGES[3:7], {}, rows_done=18)
    append_chunk(journal, images, IMAGES[7:], {}, rows_done=20)
    return journal, images


def test_whole_journal_is_kept_and_read_back(tmp_path):
    for file in _written(tmp_path):
        file.close()
    before = (tmp_path / "images.npy").read_bytes()
    assert before == HEADER + IMAGES.tobytes()
    journal, images = _files(tmp_path)
    with journal, images:
        assert cut_to_good(journal, images, HEADER, SIZE, 10) == 20
    assert (tmp_path / "images.npy").read_bytes() == before
    done = read_journal(tmp_path / "journal.jsonl")
    assert done.checksums.tolist() == checksums_of(IMAGES).tolist()
    assert done.refused == {11: "empty file"}


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 9 * SIZE * SIZE - 1), st.integers(1, 255))
def test_a_changed_byte_cuts_back_to_the_last_line_before_it(tmp_path_factory, place, change):
    folder = tmp_path_factory.mktemp("damaged")
    for file in _written(folder):
        file.close()
    content = bytearray((folder / "images.npy").read_bytes())
    content[len(HEADER) + place] ^= change
    (folder / "images.npy").write_bytes(content)
    image = place // SIZE**2
    rows_done, n_images, n_lines = (10, 0, 0) if image < 3 else (14, 3, 1) if image < 7 else (18, 7, 2)
    journal, images = _files(folder)
    with journal, images:
        assert cut_to_good(journal, images, HEADER, SIZE, 10) == rows_done
    assert (folder / "images.npy").read_bytes() == HEADER + IMAGES[:n_images].tobytes()
    assert len((folder / "journal.jsonl").read_bytes().splitlines()) == n_lines


def test_images_that_are_lost_cut_back_too(tmp_path):
    journal, images = _written(tmp_path)
    with journal, images:
        images.truncate(len(HEADER) + 5 * SIZE * SIZE)
        assert cut_to_good(journal, images, HEADER, SIZE, 10) == 14


@pytest.mark.parametrize(
    "torn",
    [b"", b"{", b"null\n", b'{"rows_done": 9}\n', b"\x00\x00\n", b'{"rows_done": 2}']
    + [b'{"rows_done": 24, "checksums": []}\n'],
)
def test_a_line_that_is_no_whole_entry_ends_the_journal(tmp_path, torn):
    for file in _written(tmp_path):
        file.close()
    whole = (tmp_path / "journal.jsonl").read_bytes()
    (tmp_path / "journal.jsonl").write_bytes(whole + torn)
    journal, images = _files(tmp_path)
    with journal, images:
        assert cut_to_good(journal, images, HEADER, SIZE, 10) == 20
    assert (tmp_path / "journal.jsonl").read_bytes() == whole
