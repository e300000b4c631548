from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.files import write_json
from dpcxr_core.planning.cells import cells_of
from dpcxr_core.running import in_process, results
from dpcxr_core.running.cell_config import config_of
from dpcxr_core.running.holding import study_held
from dpcxr_core.running.in_process import run_study_here
from dpcxr_core.running.results import leave_result
from dpcxr_core.running.study_places import study_places
from dpcxr_core.study.handover import leave_places
from dpcxr_core.study.places import FOLDERS, StudyPlaces
from dpcxr_core.training.record import read_record
from tests.running.conftest import DATA, none_missing

BROKEN = {"broken": {"weights": "file:/nowhere/{architecture}.safetensors"}, "random": {"weights": "random"}}


CHAIN = {
    "first": {"weights": "random"},
    "second": {"trained_on": "sim-b", "from": "first"},
    "third": {"trained_on": "sim-c", "from": "second"},
    "fourth": {"trained_on": "sim-d", "from": "third"},
}


@pytest.fixture
def chained(tried, monkeypatch):
    """A study whose cells start from one another; jobs that were begun; and data sets on which cells shall fail."""
    hospitals = {f"sim-{letter}": DATA | {"private_hospital": f"sim-{letter}"} for letter in "bcd"}
    tiny = tried(pretraining_data=hospitals, initialisations=CHAIN, epsilons=[float("inf")], seeds=[0])
    begun, broken = [], set()

    def run_cell(job, jobs, study, study_dir):
        begun.append(job)
        if job.dataset in broken:
            raise ValueError("it broke")
        leave_places(tiny.folder(job), StudyPlaces(**folders, public_dataset="a", private_dataset="a"))
        write_json(tiny.runs / job.name / "record.json", {})
        leave_result(tiny.folder(job), 0.0, tiny.runs / job.name)

    folders = dict.fromkeys(FOLDERS, tiny.runs)
    monkeypatch.setattr(in_process, "_prepare", lambda job, *_: leave_result(tiny.folder(job), 0.0))
    monkeypatch.setattr(in_process, "_run_cell", run_cell)
    monkeypatch.setattr(in_process, "worker_pool", lambda n_jobs, gpus: ThreadPoolExecutor(n_jobs))
    monkeypatch.setattr(results, "missing_scores", none_missing)
    return tiny, begun, broken


def test_a_chain_of_pretrainings_is_run_to_its_end(chained):
    tiny, begun, _ = chained
    folders = run_study_here(tiny.study, tiny.study_dir, cache_dir=tiny.cache, n_jobs=1)
    assert None not in folders
    assert sorted(job.name for job in begun) == sorted(job.name for job in tiny.cell_jobs())  # each once
    order = [job.name for job in begun]
    assert all(order.index(name) < order.index(job.name) for job in begun for name in job.needs if name in order)


def test_only_the_workers_of_cells_that_are_planned_with_a_gpu_find_one(chained, monkeypatch):
    tiny, begun, _ = chained
    asked = []

    def pool(n_jobs, *, gpus):
        asked.append((gpus, len(begun)))
        return ThreadPoolExecutor(n_jobs)

    monkeypatch.setattr(in_process, "worker_pool", pool)
    first, *others = tiny.cell_jobs()
    cells = [replace(job, needs=()) for job in (replace(first, n_gpus=1), *others)]
    in_process._run_cells({job.name: job for job in cells}, tiny.study, tiny.study_dir, 1)
    assert asked == [(False, 0), (True, len(others))]
    assert [job.name for job in begun] == [job.name for job in (*others, first)]


def test_what_needs_a_cell_that_failed_is_counted_and_the_failure_has_a_log(chained, capsys):
    tiny, begun, broken = chained
    broken.add("sim-c")
    run_study_here(tiny.study, tiny.study_dir, cache_dir=tiny.cache, n_jobs=1)
    failed = [job for job in begun if job.dataset == "sim-c"]
    assert [(tiny.folder(job) / "log.txt").read_text() for job in failed] == ["it broke\n"]
    left = len(tiny.cell_jobs()) - len(begun)
    assert left == 3  # pretrained on sim-d, and the two cells of sim-a that start from there or from sim-c
    assert f"{left} cells need one that failed, and were not begun" in capsys.readouterr().out


def test_cells_in_a_pool_that_breaks_are_run_each_by_itself_and_only_the_culprit_fails(chained, monkeypatch, capsys):
    tiny, begun, _ = chained
    cells = [replace(job, needs=()) for job in tiny.cell_jobs()]
    culprit, run_cell = cells[0].name, in_process._run_cell
    broken, asked = [], []

    def killed_or_run(job, *others):
        broken.extend([job.name] if job.name == culprit else [])
        if broken and (len(asked) == 1 or job.name == culprit):  # all of the first pool, as a real one does
            raise BrokenProcessPool("killed")
        run_cell(job, *others)

    def pool(n_jobs, *, gpus):
        asked.append(n_jobs)
        return ThreadPoolExecutor(n_jobs)

    monkeypatch.setattr(in_process, "worker_pool", pool)
    monkeypatch.setattr(in_process, "_run_cell", killed_or_run)
    in_process._run_cells({job.name: job for job in cells}, tiny.study, tiny.study_dir, 2)
    assert len(asked) > 1
    assert set(asked[1:]) == {1}
    assert {job.name for job in begun} == {job.name for job in cells} - {culprit}
    assert capsys.readouterr().out == f"{culprit} failed: killed\n"


def test_a_study_that_another_process_is_at_is_left_alone(chained):
    tiny, begun, _ = chained
    with study_held(tiny.study_dir), pytest.raises(UserError, match="another process is at the study"):
        run_study_here(tiny.study, tiny.study_dir, cache_dir=tiny.cache, n_jobs=1)
    assert not begun


@pytest.mark.slow
def test_cells_are_run_in_order_and_one_that_fails_is_none(tried, capsys):
    tiny = tried(initialisations=BROKEN, seeds=[0])
    folders = run_study_here(tiny.study, tiny.study_dir, cache_dir=tiny.cache, n_jobs=2)
    cells = list(cells_of(tiny.study))
    assert [folder is None for folder in folders] == [cell.initialisation == "broken" for cell in cells]
    assert "/nowhere/convnext_mini.json is missing" in capsys.readouterr().out
    by_cell = {job.cell: job for job in tiny.cell_jobs()}
    for cell, folder in zip(cells, folders, strict=True):
        if folder is not None:
            job = by_cell[cell]
            places = study_places(job, tiny.jobs, tiny.study, tiny.study_dir)
            assert read_record(folder).config == config_of(job, tiny.jobs, tiny.study, tiny.study_dir, places)
    stamps = _stamps(tiny)
    assert run_study_here(tiny.study, tiny.study_dir, cache_dir=tiny.cache, n_jobs=1) == folders
    assert _stamps(tiny) == stamps


def _stamps(tiny) -> dict[str, int]:
    """When each result was left."""
    folders = [tiny.folder(tiny.jobs[name]) for name in tiny.done()]
    return {folder.name: (folder / "result.json").stat().st_mtime_ns for folder in folders}
