import nbformat
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.publishing.pages.about import COLUMNS, run_provenance
from dpcxr_core.publishing.pages.executed import RECORD


def test_provenance_has_a_row_a_chapter(tmp_path):
    for name, seconds in (("02_b", 12.34), ("01_a", 3.0)):
        record = {
            "source": f"book/{name}.py",
            "source_sha256": "ab" * 32,
            "parameters": {"seed": 1},
            "git_commit": "0123456789ab",
            "versions": {"python": "3.11"},
        }
        papermill = {"start_time": "2026-11-21T23:14:02.73+00:00", "duration": seconds}
        metadata = {RECORD: record, "papermill": papermill}
        nbformat.write(nbformat.v4.new_notebook(metadata=metadata), tmp_path / f"{name}.ipynb")
    table = run_provenance(tmp_path)
    assert list(table.columns) == list(COLUMNS)
    assert table["chapter"].tolist() == ["01_a", "02_b"]
    assert table["seconds"].tolist() == [3.0, 12.3]
    assert table["parameters"].tolist() == ["seed 1", "seed 1"]
    assert str(table["started"][0]) == "2026-11-21 23:14:02+00:00"


def test_provenance_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="run the book first"):
        run_provenance(tmp_path)
