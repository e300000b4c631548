"""What a dry run says, and that it needs neither data nor much time."""

import subprocess
import sys
import time

import pytest

from dpcxr_core.files import write_json
from dpcxr_core.planning.cells import cell_name, cells_of
from dpcxr_core.planning.dry_run import _time, print_dry_run
from dpcxr_core.planning.jobs import RESULT_FILE, job_folder, jobs_of
from dpcxr_core.planning.study_file import read_study
from tests.conftest import PROJECT

PAPER = PROJECT / "studies" / "paper.yml"
_DRY_RUN = """
import sys
from pathlib import Path
from dpcxr_core.planning.dry_run import print_dry_run
from dpcxr_core.planning.jobs import jobs_of
from dpcxr_core.planning.study_file import read_study
study = read_study(Path(sys.argv[1]))
print_dry_run(study, jobs_of(study), Path(sys.argv[2]), cache_dir=Path(sys.argv[2]))
assert {"torch", "timm", "PIL", "sklearn"}.isdisjoint(sys.modules)
"""


def test_states_are_those_of_the_jobs(study_with, tmp_path, capsys):
    study = study_with()
    jobs = jobs_of(study)
    done = next(job for job in jobs if job.cell is not None)
    folder = job_folder(tmp_path, done)
    folder.mkdir(parents=True)
    write_json(folder / RESULT_FILE, {"run": None, "seconds": 1.0})
    print_dry_run(study, jobs, tmp_path, cache_dir=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if cell_name(done.cell) in line]
    assert " done " in line
    n_cells = len(cells_of(study))
    assert any(line.startswith(f"to do: {n_cells - 1} cells") for line in lines)
    assert any(line.startswith(f"all: {n_cells} cells") for line in lines)
    before = [job for job in jobs if job.cell is None]
    for state in ("all", "to do"):  # none of them is done
        assert any(line.startswith(f"{state} before the cells: {len(before)} jobs") for line in lines)
    for job in before:
        (line,) = [line for line in lines if job.name in line]
        assert line.endswith("to do")


def test_ablation_says_only_what_it_changes(study_with, capsys, tmp_path):
    study = study_with(ablations={"scale": {"fractions": [0.5]}}, own_heads=[])
    print_dry_run(study, jobs_of(study), tmp_path, cache_dir=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("scale:")
    assert lines[start + 1 : start + 3] == ["  fractions: 0.5", ""]


def test_paper_is_planned_without_data_patience_or_the_packages_of_training_and_images(tmp_path):
    started = time.monotonic()
    call = [sys.executable, "-c", _DRY_RUN, str(PAPER), str(tmp_path)]
    said = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert time.monotonic() - started < 60  # a person waits for it; on a busy machine it takes several times longer
    study = read_study(PAPER)
    cells = cells_of(study)
    lines = said.splitlines()
    assert f"Cells: {len(cells)}" in lines
    shown = {word for line in lines for word in line.split()}
    assert {cell_name(cell) for cell in cells} <= shown
    # every data set has its missing files and how to get them
    for name in (*study.data, *study.pretraining_data):
        start = lines.index(f"{name}:", lines.index("Missing files"))
        assert lines[start + 1].startswith("  missing: ")
        assert any(line.startswith("  1. ") for line in lines[start : start + 6])
    assert "expect a factor of two" in said


@pytest.mark.parametrize(
    ("seconds", "told"), [(31.2, "31.2 s"), (600, "10 min"), (9000, "2.5 h"), (float("nan"), "not known")]
)
def test_times_are_told_in_a_unit_that_fits(seconds, told):
    assert _time(seconds) == told
