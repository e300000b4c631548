import json

import pytest

from dpcxr_core import files
from dpcxr_core.files import whole_folder, write_json


def test_write_json_creates_the_folder_and_leaves_no_partial_file(tmp_path):
    path = write_json(tmp_path / "new" / "a.json", {"a": [1, 2]})
    assert json.loads(path.read_text()) == {"a": [1, 2]}
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_keeps_the_old_file(tmp_path):
    path = write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(path, {("a", "b"): 1})
    assert json.loads(path.read_text()) == 1


def test_processes_of_one_number_on_two_machines_write_apart(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(files.os, "getpid", lambda: 1)
    monkeypatch.setattr(files.os, "replace", lambda partial, _: seen.append(partial))
    write_json(tmp_path / "a.json", 1)
    write_json(tmp_path / "a.json", 2)
    assert [json.loads(partial.read_text()) for partial in seen] == [1, 2]


def _write(final, text="whole"):
    with whole_folder(final, "sign") as folder:
        (folder / "sign").write_text(text)
        assert not (final / "sign").exists() or text == "second"


def test_folder_appears_with_all_that_was_written_into_it(tmp_path):
    final = tmp_path / "new" / "a"
    _write(final)
    assert (final / "sign").read_text() == "whole"
    assert list(final.parent.iterdir()) == [final]


def _fail_halfway(final):
    with whole_folder(final, "sign") as folder:
        (folder / "sign").write_text("half")
        raise RuntimeError("stop")


def test_failed_block_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        _fail_halfway(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_second_writer_of_the_same_folder_keeps_the_first(tmp_path):
    for text in ("first", "second"):
        _write(tmp_path / "a", text)
    assert (tmp_path / "a" / "sign").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("left_in_it", [(), ("scores.parquet",)])
def test_folder_without_its_sign_is_replaced(tmp_path, left_in_it):
    (tmp_path / "a").mkdir()
    for name in left_in_it:
        (tmp_path / "a" / name).touch()
    _write(tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["sign"]
