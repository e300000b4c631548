import json

import pytest

from dpcxr_core.files import write_json


def test_write_json_creates_the_folder_and_leaves_no_partial_file(tmp_path):
    path = write_json(tmp_path / "new" / "a.json", {"a": [1, 2]})
    assert json.loads(path.read_text()) == {"a": [1, 2]}
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_keeps_the_old_file(tmp_path):
    path = write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(path, {("a", "b"): 1})
    assert json.loads(path.read_text()) == 1
