import nbformat
import pytest

from dpcxr_core.publishing.pages.executed import RECORD, chapter_record, code_key, executed_chapters, source_sha256


@pytest.mark.parametrize("same", ["a\nb\n", "a\r\nb\r\n", "a\nb", "\ufeffa\nb\n"])
def test_source_hash_is_blind_to_line_ends(same):
    assert source_sha256(same) == source_sha256("a\nb\n")


@pytest.mark.parametrize("edited", ["a\nc\n", "a\n\nb\n", "a \nb\n"])
def test_source_hash_tells_edited_texts_apart(edited):
    assert source_sha256(edited) != source_sha256("a\nb\n")


def test_code_key_depends_on_parameters():
    assert code_key({"seed": 0}) == code_key({"seed": 0})
    assert code_key({"seed": 0}) != code_key({"seed": 1})


def test_record_names_source_parameters_and_versions(tmp_path):
    chapter = tmp_path / "01_toy.py"
    chapter.write_text("# %%\n1 + 1\n")
    record = chapter_record(chapter, {"seed": 3})
    assert record["source"] == "01_toy.py"
    assert record["source_sha256"] == source_sha256(chapter.read_text())
    assert record["parameters"] == {"seed": 3}
    assert {"python", "torch"} <= set(record["versions"])


def test_executed_chapters_leave_partial_and_foreign_notebooks_out(tmp_path):
    ours = nbformat.v4.new_notebook(metadata={RECORD: {}})
    nbformat.write(ours, tmp_path / "01_toy.ipynb")
    nbformat.write(ours, tmp_path / "02_toy.partial.ipynb")
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "03_foreign.ipynb")
    assert [path.name for path, _ in executed_chapters(tmp_path)] == ["01_toy.ipynb"]
