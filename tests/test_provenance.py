from pathlib import Path

from dpcxr_core.provenance import git_state, source_key, versions


def test_source_key_changes_with_text_and_with_names_and_not_with_caches(tmp_path: Path):
    folder = tmp_path / "room"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1\n")
    first = source_key(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_bytes(b"anything")
    assert source_key(folder) == first
    (folder / "a.py").write_text("x = 2\n")
    second = source_key(folder)
    (folder / "a.py").rename(folder / "b.py")
    assert len({first, second, source_key(folder)}) == 3


def test_git_state_says_so_outside_git(tmp_path: Path):
    assert git_state(tmp_path) == "not in git"


def test_versions_name_the_packages_that_numbers_depend_on():
    found = versions()
    assert {"python", "torch", "dp-accounting"} <= set(found)
    assert found["torch"] != "not installed"
