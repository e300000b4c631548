import subprocess
import sys
from pathlib import Path

from dpcxr_core.provenance import git_state, imported_files, imported_source_key, source_key, versions


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
    assert {"python", "torch", "scipy", "dp-accounting"} <= set(found)
    assert found["torch"] != "not installed"


def test_imported_files_are_those_that_python_imports():
    """Held against a fresh interpreter; what is found beside its modules is imported late, or not by this module."""
    name = "dpcxr_core.study.evaluating"
    ours = "(module.__file__ for key, module in sys.modules.items() if key.startswith('dpcxr_core.'))"
    code = f"import sys, {name}; print(*{ours})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    found = imported_files(name)
    assert {Path(file) for file in loaded if not file.endswith("__init__.py")} <= set(found)
    assert not [file for file in found if "publishing" in file.parts]


def test_code_is_named_as_it_was_loaded_though_files_were_edited_since(monkeypatch):
    key = imported_source_key("dpcxr_core.tables")
    imported_source_key.cache_clear()
    monkeypatch.setattr(Path, "read_bytes", lambda file: b"edited")
    assert imported_source_key("dpcxr_core.tables") == key


def test_imported_source_key_changes_with_the_modules():
    keys = {imported_source_key(f"dpcxr_core.{name}") for name in ("config", "tables", "files")}
    assert len(keys) == 3
    assert imported_source_key("dpcxr_core.tables") == imported_source_key("dpcxr_core.tables", "dpcxr_core.config")
