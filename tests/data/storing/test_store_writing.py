import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.store import open_store
from dpcxr_core.data.storing.shards import Shard
from dpcxr_core.data.storing.store_finishing import made_by
from dpcxr_core.data.storing.store_writing import Rendered, check_choices, subset_store, write_store
from dpcxr_core.provenance import PROJECT_FOLDER

SIZE = 16
N = 23
REFUSED = {4: "empty file", 5: "damaged", 22: "empty file"}


def _cohort(n=N):
    table = pd.DataFrame(
        {
            "dataset": "toy",
            "image_id": [f"i{row}" for row in range(n)],
            "patient_id": [f"p{row // 2}" for row in range(n)],
            "split": ["train"] * 10 + ["valid"] * 4 + ["test"] * (n - 14),
            "view": "PA",
            "sex": "F",
            "age_years": 50.0,
            "path": [f"images/{row}.png" for row in range(n)],
        }
    )
    return table.assign(**dict.fromkeys(FINDINGS, 1.0))


def _render(rows):
    read = [row for row in rows.tolist() if row not in REFUSED]
    images = np.stack([np.full((SIZE, SIZE), 10 * row + 1) for row in read]) if read else np.empty((0, SIZE, SIZE))
    return Rendered(images.astype(np.uint8), {row: REFUSED[row] for row in rows.tolist() if row in REFUSED})


def _write(out, render=_render, cohort=None, **changed):
    arguments = {
        "size": SIZE,
        "recipe": {"name": "toy"},
        "choices": {"seed": 1},
        "chunk": 4,
        "progress": False,
    }
    cohort = _cohort() if cohort is None else cohort
    return write_store(out, cohort, partial(map, render), **(arguments | changed))


def _files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class _KilledError(BaseException):
    pass


def _killed_before(n_chunks):
    calls = []

    def render(rows):
        if len(calls) == n_chunks:
            raise _KilledError
        calls.append(rows)
        return _render(rows)

    return render


def test_write_store_leaves_refused_rows_out_and_names_them(tmp_path):
    store = _write(tmp_path / "toy")
    kept = [row for row in range(N) if row not in REFUSED]
    assert store.images[:, 0, 0].tolist() == [(10 * row + 1) % 256 for row in kept]
    assert store.cohort["image_id"].tolist() == [f"i{row}" for row in kept]
    refused = pd.read_csv(store.path / "refused.csv")
    assert refused["image_id"].tolist() == ["i4", "i5", "i22"]
    assert refused["path"].tolist() == ["images/4.png", "images/5.png", "images/22.png"]
    assert refused["reason"].tolist() == ["empty file", "damaged", "empty file"]
    assert (store.description["n_listed"], store.description["n_images"]) == (23, 20)
    assert not (tmp_path / "toy.partial").exists()


@pytest.mark.parametrize("n_chunks", range(6))
def test_write_store_continues_after_a_stop_and_renders_no_chunk_twice(tmp_path, n_chunks):
    whole = _write(tmp_path / "whole")
    with pytest.raises(_KilledError):
        _write(tmp_path / "toy", _killed_before(n_chunks))
    assert not (tmp_path / "toy").exists()
    rendered = []
    _write(tmp_path / "toy", lambda rows: rendered.extend(rows.tolist()) or _render(rows))
    assert rendered == list(range(4 * n_chunks, N))
    assert _files(tmp_path / "toy") == _files(whole.path)


@settings(derandomize=True, deadline=None, max_examples=12)
@given(st.integers(0, 5), st.integers(0, 700), st.integers(0, 60), st.integers(1, 30))
def test_write_store_survives_any_torn_end_of_its_files(tmp_path_factory, n_chunks, n_image_bytes, n_journal, chunk):
    folder = tmp_path_factory.mktemp("torn")
    with pytest.raises(_KilledError):
        _write(folder / "toy", _killed_before(n_chunks))
    with (folder / "toy.partial" / "store" / "images.npy").open("ab") as images:
        images.write(bytes(n_image_bytes))  # a chunk whose journal line was never written
    (folder / "toy.partial" / "store" / "truth.parquet").write_bytes(b"half")
    with (folder / "toy.partial" / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"rows_done": 999, "refused": [[0, "x"]], "checksums": []}'[:n_journal])
    store = _write(folder / "toy", chunk=chunk)
    assert _files(store.path) == _files(_write(folder / "whole").path)


SLOW_WRITER = """
import sys, time
from pathlib import Path
from tests.data.storing.test_store_writing import _render, _write
_write(Path(sys.argv[1]), lambda rows: time.sleep(0.1) or _render(rows), chunk=1)
"""


def test_write_store_continues_after_kill_9_at_any_moment(tmp_path):
    whole = _write(tmp_path / "whole")
    journal = tmp_path / "toy.partial" / "journal.jsonl"
    for at_least in (1, 8):
        process = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, str(tmp_path / "toy")], cwd=PROJECT_FOLDER)
        while not (journal.exists() and journal.read_bytes().count(b"\n") > at_least) and process.poll() is None:
            time.sleep(0.01)
        with pytest.raises(UserError, match="another process is writing"):
            _write(tmp_path / "toy")
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "toy").exists()
    assert _files(_write(tmp_path / "toy").path) == _files(whole.path)


def test_write_store_renders_again_only_what_the_disk_lost(tmp_path):
    whole = _write(tmp_path / "whole")
    with pytest.raises(_KilledError):
        _write(tmp_path / "toy", _killed_before(4))
    images = tmp_path / "toy.partial" / "store" / "images.npy"
    content = bytearray(images.read_bytes())
    content[-6 * SIZE * SIZE] ^= 1  # in the third chunk: the fourth holds four images
    images.write_bytes(content)
    rendered = []
    _write(tmp_path / "toy", lambda rows: rendered.extend(rows.tolist()) or _render(rows))
    assert rendered == list(range(8, N))
    assert _files(tmp_path / "toy") == _files(whole.path)


def test_write_store_does_not_go_on_with_images_of_other_code(tmp_path, monkeypatch):
    with pytest.raises(_KilledError):
        _write(tmp_path / "toy", _killed_before(2))
    finished = _files(_write(tmp_path / "other").path)
    monkeypatch.setattr("dpcxr_core.data.storing.store_writing.made_by", lambda: {**made_by(), "scipy": "0.1"})
    with pytest.raises(UserError, match=r"other choices: made by scipy was '[^';]*', is now '0\.1'\. Give"):
        _write(tmp_path / "toy")
    assert _files(_write(tmp_path / "other").path) == finished  # what is finished is finished


def test_write_store_of_a_shard_has_its_rows_and_says_whose_part_it_is(tmp_path):
    store = _write(tmp_path / "toy", shard=Shard(2, 3))
    assert store.cohort["image_id"].tolist() == [f"i{row}" for row in range(7, 15)]
    assert store.description["shard"] == "2/3"
    assert store.description["n_listed"] == N


def test_write_store_keeps_whether_patients_are_known(tmp_path):
    store = _write(tmp_path / "toy", patient_ids="none")
    assert store.description["patient_ids"] == "none"
    assert subset_store(store, np.array([0, 1]), tmp_path / "part", "part").description["patient_ids"] == "none"


@pytest.mark.parametrize(
    ("size", "jobs", "message"), [(15, 1, "size must be 16 to 2048"), (2049, 1, "got 2049"), (64, 0, "jobs must be")]
)
def test_check_choices_refuses_what_is_out_of_range(size, jobs, message):
    check_choices(16, 1)
    check_choices(2048, 99)
    with pytest.raises(UserError, match=message):
        check_choices(size, jobs)


def test_write_store_finished_with_the_same_choices_renders_nothing(tmp_path):
    before = _files(_write(tmp_path / "toy").path)
    (tmp_path / "toy.partial").mkdir()  # as a kill between renaming and clearing up leaves it
    _write(tmp_path / "toy", _killed_before(0))
    assert _files(tmp_path / "toy") == before
    assert not (tmp_path / "toy.partial").exists()


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"size": 32}, "size was 16, is now 32"),
        ({"choices": {"seed": 2}}, "seed was 1, is now 2"),
        ({"recipe": {"name": "other"}}, "recipe was {'name': 'toy'}, is now {'name': 'other'}"),
        ({"cohort": _cohort().assign(age_years=51.0)}, "the cohort table or its files changed"),
        ({"cohort": _cohort(22)}, "n_listed was 23, is now 22"),
    ],
)
def test_write_store_refuses_other_choices_and_names_them(tmp_path, finished, changed, difference):
    if finished:
        _write(tmp_path / "toy")
    else:
        with pytest.raises(_KilledError):
            _write(tmp_path / "toy", _killed_before(2))
    with pytest.raises(UserError) as refusal:
        _write(tmp_path / "toy", **changed)
    assert difference in str(refusal.value)
    assert "or delete" in str(refusal.value)


def test_write_store_refuses_a_folder_that_holds_something_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is not an image store"):
        _write(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_write_store_refuses_a_source_that_is_mostly_unreadable_and_reads_it_anew(tmp_path):
    def nothing(rows):
        return Rendered(np.empty((0, SIZE, SIZE), np.uint8), dict.fromkeys(rows.tolist(), "empty file"))

    with pytest.raises(UserError, match=r"23 of 23 pictures cannot be used \(23 empty file; first: images/0.png\)"):
        _write(tmp_path / "toy", nothing)
    assert len(_write(tmp_path / "toy").images) == 20


def test_write_store_names_every_picture_of_a_source_that_is_mostly_unreadable(tmp_path):
    def few(rows):
        read = rows[rows >= 20]
        gone = {row: "empty file" if row else "damaged" for row in rows.tolist() if row < 20}
        return Rendered(np.zeros((len(read), SIZE, SIZE), np.uint8), gone)

    out, listed = tmp_path / "toy.v2", tmp_path / "toy.v2.refused.csv"
    with pytest.raises(UserError, match=f"20 of 23 pictures .*named with its reason in {re.escape(str(listed))}"):
        _write(out, few)
    assert not (tmp_path / "toy.v2.partial").exists()
    refused = pd.read_csv(listed)
    assert refused["path"].tolist() == [f"images/{row}.png" for row in range(20)]
    assert refused["reason"].tolist() == ["damaged", *["empty file"] * 19]
    _write(out)
    assert not listed.exists()  # the store has a list of its own


def test_write_store_refuses_a_patient_in_two_splits(tmp_path):
    crossing = _cohort()
    crossing.loc[9, "split"] = "test"
    with pytest.raises(UserError, match="1 of 12 patients"):
        _write(tmp_path / "toy", cohort=crossing)


def test_write_store_refuses_a_disk_that_is_too_small(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(UserError, match="are free"):
        _write(tmp_path / "toy")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda rows: Rendered(np.zeros((len(rows), SIZE, SIZE))),
        lambda rows: Rendered(np.zeros((len(rows), SIZE, SIZE + 1), np.uint8)),
        lambda rows: Rendered(np.zeros((len(rows) - 1, SIZE, SIZE), np.uint8)),
        lambda rows: Rendered(np.zeros((len(rows) - 1, SIZE, SIZE), np.uint8), {99: "empty file"}),
    ],
)
def test_write_store_refuses_images_that_do_not_fit_their_rows(tmp_path, wrong):
    with pytest.raises(ValueError, match="render"):
        _write(tmp_path / "toy", wrong)


def test_companion_tables_lose_the_refused_rows_too(tmp_path):
    truth = pd.DataFrame({"image_id": _cohort()["image_id"], "severity": np.arange(N) / N})
    store = _write(tmp_path / "toy", companions={"truth": truth})
    kept = pd.read_parquet(store.path / "truth.parquet")
    assert kept["image_id"].tolist() == store.cohort["image_id"].tolist()
    with pytest.raises(ValueError, match="has 22 rows"):
        _write(tmp_path / "other", companions={"truth": truth[1:]})


def test_subset_store_takes_rows_images_and_companions_in_the_order_asked(tmp_path):
    truth = pd.DataFrame({"severity": np.arange(N)})
    store = _write(tmp_path / "toy", companions={"truth": truth})
    rows = np.array([7, 0, 12])
    part = subset_store(store, rows, tmp_path / "part", "toy-public")
    np.testing.assert_array_equal(part.images, store.images[rows])
    assert part.cohort["image_id"].tolist() == store.cohort["image_id"].iloc[rows].tolist()
    assert set(part.cohort["dataset"]) == {"toy-public"}
    assert pd.read_parquet(part.path / "truth.parquet")["severity"].tolist() == [9, 0, 14]
    assert part.description["choices"] == {"seed": 1, "taken_from": "toy"}
    assert open_store(part.path).description["recipe_hash"] == store.description["recipe_hash"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        *[(content, r"begun\.json was damaged.* Delete .*toy\.partial") for content in ("", "{", "[]", "{}")],
        ('{"choices": 3}', r"begun\.json was damaged.* Delete .*toy\.partial"),
        ('{"choices": {}}', "size was None, is now 16"),
    ],
)
def test_write_store_refuses_a_beginning_that_was_damaged(tmp_path, content, said):
    with pytest.raises(_KilledError):
        _write(tmp_path / "toy", _killed_before(2))
    (tmp_path / "toy.partial" / "begun.json").write_text(content)
    with pytest.raises(UserError, match=said):
        _write(tmp_path / "toy")


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_write_store_refuses_a_folder_without_a_name_of_its_own(out):
    with pytest.raises(UserError, match="cannot be a store"):
        _write(Path(out))
