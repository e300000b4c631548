import nbformat
import pytest

from dpcxr_core.publishing.pages.executed import RECORD, source_sha256
from dpcxr_core.publishing.pages.reader import RUN_VARIABLE, read_executed

TEXT = "# %% [markdown]\n# # Fairness\n"
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    monkeypatch.setenv(RUN_VARIABLE, str(tmp_path))
    return tmp_path


def _write(folder, name):
    shown = nbformat.v4.new_output("display_data", data={WIDGET: {"model_id": "a"}, "text/html": "<p>page</p>"})
    cells = [
        nbformat.v4.new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]}),
        nbformat.v4.new_code_cell("show()", outputs=[shown]),
    ]
    metadata = {RECORD: {"source_sha256": source_sha256(TEXT)}, "widgets": {"state": 1}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), folder / name)


def test_reader_finds_the_notebook_of_the_text_and_takes_widgets_out(run_dir):
    _write(run_dir, "01_toy.ipynb")
    notebook = read_executed(TEXT.replace("\n", "\r\n"))
    assert "widgets" not in notebook.metadata
    assert notebook.cells[1].outputs[0].data == {"text/html": "<p>page</p>"}
    assert "hide-input" in notebook.cells[0].metadata.tags


def test_reader_refuses_a_text_edited_after_its_run(run_dir):
    _write(run_dir, "01_toy.ipynb")
    with pytest.raises(LookupError, match="chapter 'Fairness' as it now stands .* run the book first"):
        read_executed(TEXT + "# more\n")


def test_reader_refuses_two_notebooks_of_one_text(run_dir):
    _write(run_dir, "01_toy.ipynb")
    _write(run_dir, "02_toy.ipynb")
    with pytest.raises(LookupError, match="01_toy.ipynb, 02_toy.ipynb"):
        read_executed(TEXT)


def test_reader_needs_to_know_the_run(monkeypatch):
    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    with pytest.raises(LookupError, match=RUN_VARIABLE):
        read_executed(TEXT)
