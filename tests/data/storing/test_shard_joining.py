import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.store import verify_store
from dpcxr_core.data.storing.shard_joining import find_shards, join_shards, remove_shards
from dpcxr_core.data.storing.shards import Shard
from dpcxr_core.data.storing.store_writing import Rendered
from tests.data.storing.test_store_writing import SIZE, _cohort, _files, _write


def _mixed():
    """Sex, age and labels recorded in one part of the table only, and a column of whole numbers."""
    cohort = _cohort().assign(study=range(23))
    cohort.loc[:14, ["sex", "path"]] = None
    cohort.loc[9:, ["age_years", "pneumonia"]] = np.nan
    return cohort


def _shards(out, of, cohort=None, **changed):
    cohort = _mixed() if cohort is None else cohort
    for number in range(1, of + 1):
        shard = Shard(number, of)
        _write(shard.folder(out), cohort=cohort, shard=shard, **changed)


@pytest.mark.parametrize("of", [2, 5, 23, 30])
def test_joined_shards_are_the_bytes_of_one_run(tmp_path, of):
    whole = _write(tmp_path / "whole", cohort=_mixed())
    _shards(tmp_path / "toy", of)
    joined = join_shards(tmp_path / "toy", progress=False)
    assert _files(joined.path) == _files(whole.path)
    assert not (tmp_path / "toy.joining").exists()
    assert (tmp_path / f"toy.shard-1-of-{of}").is_dir()


def test_companions_are_joined_too(tmp_path):
    truth = _mixed()[["image_id", "age_years"]]
    whole = _write(tmp_path / "whole", cohort=_mixed(), companions={"truth": truth})
    _shards(tmp_path / "toy", 3, companions={"truth": truth})
    assert _files(join_shards(tmp_path / "toy", progress=False).path) == _files(whole.path)


def test_a_second_join_does_nothing_and_a_killed_one_starts_anew(tmp_path):
    _shards(tmp_path / "toy", 2)
    left = tmp_path / "toy.joining" / "store"
    left.mkdir(parents=True)
    (left / "images.npy").write_bytes(b"half")
    before = _files(join_shards(tmp_path / "toy", progress=False).path)
    shutil.rmtree(tmp_path / "toy.shard-2-of-2")
    assert _files(join_shards(tmp_path / "toy", progress=False).path) == before


def _lose(out):
    shutil.rmtree(out.with_name("toy.shard-2-of-3"))


def _leave_unfinished(out):
    (out.with_name("toy.shard-2-of-3") / "store.json").unlink()


def _mix_ways(out):
    _shards(out, 2)


def _by_other_code(out, last=3):
    file = Shard(last, last).folder(out) / "store.json"
    values = json.loads(file.read_text())
    values["made_by"]["source"] = "0" * 12
    file.write_text(json.dumps(values))


def _other_choices(out):
    shutil.rmtree(out.with_name("toy.shard-2-of-3"))
    _write(Shard(2, 3).folder(out), cohort=_mixed(), shard=Shard(2, 3), choices={"seed": 2})


def _other_table(out):
    shutil.rmtree(out.with_name("toy.shard-2-of-3"))
    _write(Shard(2, 3).folder(out), cohort=_mixed().assign(view="AP"), shard=Shard(2, 3))


def _damage(out):
    file = out.with_name("toy.shard-2-of-3") / "images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_lose, r"1 of 3 shards are missing or not finished: .*toy\.shard-2-of-3"),
        (_leave_unfinished, r"1 of 3 shards are missing or not finished: .*toy\.shard-2-of-3"),
        (_mix_ways, "shards of 2 and of 3"),
        (_by_other_code, "do not belong together: made by source was .*, is now '000000000000'"),
        (_other_choices, "do not belong together: seed was 1, is now 2"),
        (_other_table, "do not belong together: the cohort table or its files changed"),
        (_damage, r"shard-2-of-3 was changed.* 1 of 8 images differ: rows 7 \(i14\)"),
    ],
)
def test_shards_that_do_not_make_one_store_are_refused(tmp_path, spoil, message):
    out = tmp_path / "toy"
    _shards(out, 3)
    spoil(out)
    with pytest.raises(UserError, match=message):
        join_shards(out, progress=False)
    assert not out.exists()


def test_without_any_shard_the_way_to_one_is_said(tmp_path):
    with pytest.raises(UserError, match="toy.shard-1-of-8. Prepare them with --shard"):
        join_shards(tmp_path / "toy")


def test_a_shard_may_lack_every_picture_but_the_whole_may_not(tmp_path):
    def first_rows_only(n):
        def render(rows):
            there = rows[rows < n]
            images = np.full((len(there), SIZE, SIZE), 7, np.uint8)
            return Rendered(images, {row: "archive not unpacked" for row in rows.tolist() if row >= n})

        return render

    _shards(tmp_path / "most", 3, render=first_rows_only(15))
    joined = join_shards(tmp_path / "most", progress=False)
    assert (len(joined.images), joined.description["n_refused"]) == (15, 8)
    verify_store(joined.path)
    _shards(tmp_path / "few", 3, render=first_rows_only(8))
    with pytest.raises(UserError, match=r"15 of 23 pictures were refused.* refused\.csv of .*/few.*prepare them"):
        join_shards(tmp_path / "few", progress=False)
    named = [pd.read_csv(path / "refused.csv") for path in sorted(tmp_path.glob("few.shard-*"))]
    assert sum(map(len, named)) == 15


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    _shards(tmp_path / "toy", 2)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is not an image store"):
        join_shards(tmp_path / "toy")


def _damage_the_whole(out):
    (out / "images.npy").write_bytes((out / "images.npy").read_bytes()[:-1] + b"\x07")


def _prepare_again(out, **changed):
    shutil.rmtree(Shard(2, 2).folder(out))
    _write(Shard(2, 2).folder(out), **({"cohort": _mixed(), "shard": Shard(2, 2)} | changed))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: _prepare_again(out, choices={"seed": 2}), "shard-2-of-2: seed was 1, is now 2"),
        (
            lambda out: _prepare_again(
                out, render=lambda rows: Rendered(np.full((len(rows), SIZE, SIZE), 9, np.uint8))
            ),
            "shard-2-of-2: its images or which of them were refused differ",
        ),
        (lambda out: _by_other_code(out, 2), "shard-2-of-2: made by source was"),
    ],
)
def test_shards_that_a_finished_store_does_not_hold_are_neither_joined_nor_removed(tmp_path, spoil, message):
    out = tmp_path / "toy"
    _shards(out, 2)
    before = _files(join_shards(out, progress=False).path)
    spoil(out)
    for ask in (lambda: join_shards(out, progress=False), lambda: remove_shards(out)):
        with pytest.raises(UserError, match=message):
            ask()
    assert len(find_shards(out)) == 2
    assert _files(out) == before


def test_nothing_is_removed_beside_a_damaged_store(tmp_path):
    out = tmp_path / "toy"
    _shards(out, 2)
    join_shards(out, progress=False)
    _damage_the_whole(out)
    with pytest.raises(UserError, match="images differ"):
        remove_shards(out)
    assert len(find_shards(out)) == 2


def test_a_removal_that_was_killed_is_finished_by_the_next(tmp_path, monkeypatch):
    out = tmp_path / "toy"
    _shards(out, 3)
    join_shards(out, progress=False)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", _stop_midway)
        with pytest.raises(KeyboardInterrupt):
            remove_shards(out)
    assert (tmp_path / "toy.shard-1-of-3.removed" / "images.npy").is_file()
    join_shards(out, progress=False)
    remove_shards(out)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
    remove_shards(out)


def _stop_midway(folder):
    (folder / "store.json").unlink()
    raise KeyboardInterrupt


def test_a_backup_beside_the_shards_is_not_one_of_them(tmp_path):
    out = tmp_path / "toy"
    _shards(out, 2)
    backup = tmp_path / "toy.shard-1-of-2.old"
    shutil.copytree(Shard(1, 2).folder(out), backup)
    (tmp_path / "toy.shard-2-of-2.partial").mkdir()
    join_shards(out, progress=False)
    remove_shards(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "toy",
        "toy.shard-1-of-2.old",
        "toy.shard-2-of-2.partial",
    ]


@pytest.mark.parametrize("out", [".", "..", "/", "a/.."])
def test_a_folder_without_a_name_of_its_own_is_refused(out):
    for ask in (join_shards, find_shards, remove_shards):
        with pytest.raises(UserError, match="cannot be a store"):
            ask(Path(out))
