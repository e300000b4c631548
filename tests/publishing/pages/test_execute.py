import os
import sys

import nbformat
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.publishing.pages.execute import ChapterFailedError, execute_chapter
from dpcxr_core.publishing.pages.executed import RECORD, REPOSITORY, source_sha256

TOY = """# %% [markdown]
# # Toy

# %% tags=["parameters"]
epsilon: float | None = 3.0  # limit = 3

# %%
import os, sys
print(sys.executable, os.getcwd(), epsilon, os.environ["OMP_NUM_THREADS"])

# %%
if epsilon == 0:
    raise ValueError("epsilon is zero\\nand must not be")
"""


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = tmp_path / "01_toy.py"
    path.write_text(TOY)
    return path


def _printed(path):
    notebook = nbformat.read(path, as_version=4)
    return "".join(output.text for cell in notebook.cells for output in cell.get("outputs", []))


def test_chapter_runs_on_this_python_with_its_parameters_and_leaves_a_record(chapter, tmp_path, capsys):
    done = execute_chapter(chapter, tmp_path / "run", {"epsilon": 1.0})
    assert done == tmp_path / "run" / "01_toy.ipynb"
    assert _printed(done).split() == [sys.executable, str(REPOSITORY), "1.0", "1"]
    metadata = nbformat.read(done, as_version=4).metadata
    assert metadata[RECORD]["source_sha256"] == source_sha256(TOY)
    assert metadata[RECORD]["parameters"] == {"epsilon": 1.0}
    assert metadata.papermill.duration > 0
    assert not list((tmp_path / "run").glob("*.partial.ipynb"))
    out = capsys.readouterr()
    assert out.out.splitlines()[0] == "01_toy.py: started"
    assert "finished in" in out.out.splitlines()[1]
    assert out.err == ""


def test_chapter_is_reused_only_while_text_and_parameters_stay(chapter, tmp_path, capsys):
    def run(**options):
        path = execute_chapter(chapter, tmp_path / "run", options.pop("parameters", {}), **options)
        said = capsys.readouterr().out
        return path.stat().st_mtime_ns, "reused" in said

    first, reused = run()
    assert not reused
    assert run() == (first, True)
    assert run(force=True) != (first, True)
    assert not run(parameters={"epsilon": None})[1]
    chapter.write_text(TOY + "# edited\n")
    assert not run(parameters={"epsilon": None})[1]
    assert capsys.readouterr().out == ""


def test_failing_cell_keeps_the_partial_notebook_and_says_it_in_one_line(chapter, tmp_path):
    execute_chapter(chapter, tmp_path / "run", {}, progress=False)
    with pytest.raises(ChapterFailedError) as caught:
        execute_chapter(chapter, tmp_path / "run", {"epsilon": 0}, progress=False)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("01_toy.py", "if epsilon == 0", "ValueError: epsilon is zero and must not be"):
        assert part in message
    partial = tmp_path / "run" / "01_toy.partial.ipynb"
    assert str(partial) in message
    assert partial.exists()
    assert not (tmp_path / "run" / "01_toy.ipynb").exists()  # the older result is stale: it must not stay


def test_dead_kernel_is_a_failed_chapter(chapter, tmp_path):
    chapter.write_text("# %%\nimport os\nos._exit(3)\n")
    with pytest.raises(ChapterFailedError, match="kernel died"):
        execute_chapter(chapter, tmp_path / "run", {}, progress=False)


def test_unknown_parameter_is_refused_before_anything_runs(chapter, tmp_path):
    with pytest.raises(UserError, match="did you mean 'epsilon'"):
        execute_chapter(chapter, tmp_path / "run", {"epsilonn": 1.0})
    assert not (tmp_path / "run").exists()


def test_missing_chapter_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no chapter"):
        execute_chapter(tmp_path / "99_none.py", tmp_path, {})


def test_callers_warning_filter_does_not_reach_the_chapter(chapter, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    chapter.write_text("# %%\nimport warnings\nwarnings.warn('mind')\n")
    assert execute_chapter(chapter, tmp_path / "run", {}, progress=False).exists()
    assert os.environ["PYTHONWARNINGS"] == "error"
