import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.locks import held
from dpcxr_core.planning.jobs import run_of
from dpcxr_core.publishing.pages.execute import ChapterFailedError
from dpcxr_core.running import job as job_module
from dpcxr_core.running.config_file import read_config
from dpcxr_core.running.job import do_job
from dpcxr_core.study.handover import find_places
from dpcxr_core.training.record import read_record
from tests.conftest import PROJECT


@pytest.fixture(autouse=True)
def _outlives_its_parent(monkeypatch):
    monkeypatch.setattr(job_module, "end_with_parent", lambda: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # so that it comes back after what a job sets


def _do(tiny, name):
    do_job(tiny.file, tiny.study_dir, name, cache_dir=tiny.cache, n_cores=1)


def test_unknown_job_is_refused_with_the_cure(tried):
    with pytest.raises(UserError, match=r"has no job 'nothing'; file or code changed .* Call again"):
        _do(tried(), "nothing")


@pytest.mark.parametrize(("n_gpus", "seen"), [(0, ""), (1, "0")])
def test_only_a_job_that_is_planned_with_a_gpu_sees_one(tried, monkeypatch, n_gpus, seen):
    tiny, found = tried(), []
    job = replace(next(iter(tiny.jobs.values())), n_gpus=n_gpus)
    monkeypatch.setattr(job_module, "jobs_of", lambda *_: [job])
    monkeypatch.setattr(
        job_module, "execute_chapter", lambda *_, **__: found.append(os.environ["CUDA_VISIBLE_DEVICES"])
    )
    _do(tiny, job.name)
    assert found == [seen]


def test_ranks_see_paths_from_the_project_as_kernels_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = []

    def run(words, **options):
        started.append(options["cwd"])
        return subprocess.CompletedProcess(words, 1)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError, match="training on 2 processes failed"):
        job_module._train_on_ranks(2, tmp_path / "config.json", tmp_path)
    assert started == [PROJECT]


def test_result_is_left_last_and_only_on_success(tried, monkeypatch):
    tiny = tried()
    (data, *_) = tiny.jobs.values()
    given = []

    def fail(source, out_dir, parameters, **_):
        given.append((source.stem, out_dir, parameters))
        raise ChapterFailedError("no")

    monkeypatch.setattr(job_module, "execute_chapter", fail)
    with pytest.raises(ChapterFailedError):
        _do(tiny, data.name)
    assert not tiny.done()
    ((chapter, out_dir, parameters),) = given
    assert (chapter, out_dir) == ("11_data_preparation", tiny.folder(data) / "notebooks")
    assert parameters["n_train"] == 120
    assert parameters["cache_dir"] == str(tiny.cache)
    assert parameters["run_dir"] == str(tiny.folder(data))
    monkeypatch.setattr(job_module, "execute_chapter", lambda *_, **__: None)
    _do(tiny, data.name)
    assert tiny.done() == {data.name}
    assert json.loads((tiny.folder(data) / "result.json").read_text()).keys() == {"run", "seconds"}
    monkeypatch.setattr(job_module, "execute_chapter", fail)
    _do(tiny, data.name)  # done, so not done again
    assert len(given) == 1


def test_job_waits_for_another_process_and_then_has_nothing_to_do(tried):
    tiny = tried()
    tiny.prepare()
    (data, *_) = tiny.jobs.values()
    words = ["-m", "dpcxr_core.cli", "job", str(tiny.file), str(tiny.study_dir), data.name]
    with held(tiny.folder(data) / ".lock", wait=True):
        waiting = subprocess.Popen([sys.executable, *words], cwd=PROJECT)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=8)
    assert waiting.wait(timeout=60) == 0
    assert not (tiny.folder(data) / "notebooks").exists()


@pytest.mark.parametrize("ablations", [{}, {"safe": {"recipe": {"randomness": "secret"}, "epsilons": [8]}}])
def test_nothing_without_a_certificate_is_shown_where_any_grid_is_secret(tried, monkeypatch, ablations):
    stand_in = {"random": {"weights": "random"}, "sup": {"weights": "standin_supervised"}}
    tiny = tried(initialisations=stand_in, seeds=[0], ablations=ablations)
    tiny.prepare()
    shown = {}

    def note(source, out_dir, parameters, **_):
        shown[source.stem] = {name: value for name, value in parameters.items() if name.startswith("show_")}
        raise ChapterFailedError("noted")

    monkeypatch.setattr(job_module, "execute_chapter", note)
    standins = next(job for job in tiny.jobs.values() if job.kind == "standins")
    ordinary = next(job for job in tiny.cell_jobs() if job.cell.kind == "non_private" and len(job.needs) == 1)
    assert not ordinary.cell.recipe.needs_protection  # by the main grid, whatever an ablation says
    for job in (standins, ordinary):
        with pytest.raises(ChapterFailedError):
            _do(tiny, job.name)
    may_be = not ablations
    assert shown == {
        "15_initialisations": {"show_probe": may_be},
        "21_private_training": {"show_diagnostics": may_be, "show_images": may_be},
    }


@pytest.mark.slow
def test_cell_without_privacy_is_a_chapter_that_promises_nothing(tried):
    tiny = tried()
    tiny.prepare()
    job = next(job for job in tiny.cell_jobs() if job.cell.kind == "non_private")
    _do(tiny, job.name)
    folder = tiny.folder(job)
    record = read_record(run_of(folder))
    assert record.config == read_config(folder / "config.json")
    assert run_of(folder).parent == find_places(folder).runs
    page = (folder / "notebooks" / "21_private_training.ipynb").read_text()
    assert "Nothing is promised: this run was trained without privacy" in page
    assert "not run, as this run needs no privacy engine" in page


@pytest.mark.slow
def test_cell_of_several_ranks_is_trained_by_torchrun_before_its_chapter(tried):
    tiny = tried(ranks={"convnext_mini": 2})
    tiny.prepare()
    job = next(job for job in tiny.cell_jobs() if job.cell.kind == "private")
    words = ["-m", "dpcxr_core.cli", "job", str(tiny.file), str(tiny.study_dir), job.name, "--cache", str(tiny.cache)]
    ran = subprocess.run([sys.executable, *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    record = run_of(tiny.folder(job))
    said = ran.stdout.splitlines()
    assert said.index(str(record)) < said.index("21_private_training.py: started")  # the record was there before


@pytest.mark.slow
def test_job_ends_with_the_process_that_started_it(tried):
    tiny = tried()
    tiny.prepare()
    job = tiny.cell_jobs()[0]
    words = [sys.executable, "-m", "dpcxr_core.cli", "job", str(tiny.file), str(tiny.study_dir), job.name]
    parent = f"import subprocess, time; print(subprocess.Popen({words!r}).pid, flush=True); time.sleep(90)"
    with held(tiny.folder(job) / ".lock", wait=True):  # so that it does not end by itself
        started = subprocess.Popen([sys.executable, "-c", parent], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        child = int(started.stdout.readline())
        time.sleep(8)  # until it waits
        started.send_signal(signal.SIGKILL)
        started.wait()
        started.stdout.close()
        deadline = time.monotonic() + 20
        while _is_running(child) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not _is_running(child)


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
