import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dpcxr_core import cli
from dpcxr_core.collecting.up_to_date import made_of
from dpcxr_core.config import RunConfig
from dpcxr_core.files import write_json
from dpcxr_core.locks import held
from dpcxr_core.planning.jobs import job_folder, jobs_of, listed_weights
from dpcxr_core.planning.study_file import read_study
from dpcxr_core.running import results, whole_study
from dpcxr_core.running.results import leave_result
from dpcxr_core.study.handover import leave_initialisations, leave_places
from dpcxr_core.study.places import FOLDERS, StudyPlaces
from dpcxr_core.training.record import RunRecord, write_record_json
from tests.conftest import PROJECT, SMALL_STUDY
from tests.running.conftest import none_missing


@pytest.fixture(autouse=True)
def _every_run_is_scored(monkeypatch):
    """These runs have no images to score."""
    monkeypatch.setattr(results, "missing_scores", none_missing)
    monkeypatch.setattr(results, "read_description", lambda _: {})


@pytest.fixture
def words(tmp_path):
    file = tmp_path / "two.yml"
    file.write_text(yaml.safe_dump(SMALL_STUDY))
    return ["study", str(file), "--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache")]


@pytest.fixture
def jobs(words):
    return jobs_of(read_study(Path(words[1])))


@pytest.fixture
def study_dir(tmp_path):
    return tmp_path / "runs" / "two"


def _finish(study_dir, job, tmp_path):
    folder, run = job_folder(study_dir, job), tmp_path / "runs" / job.name
    run.mkdir(parents=True, exist_ok=True)
    config = RunConfig(dataset="runs", init_name="convnext_mini.random", head="kept")
    data = {"weights_sha256": "0" * 64}
    write_record_json(run, RunRecord(job.name, config, "random", data, None, None, [], {}, {}))
    leave_places(folder, StudyPlaces(**dict.fromkeys(FOLDERS, tmp_path), public_dataset="runs", private_dataset="runs"))
    leave_initialisations(folder, ["convnext_mini.random"])
    (folder / "log.txt").write_text("")
    leave_result(folder, 1.0, run)


def _collect(study, study_dir, *, weights_dir):
    key = made_of(study, jobs_of(study, weights_dir), study_dir)
    write_json(study_dir / "tables" / "tables.json", {"made_of": key})
    return study_dir / "tables"


@pytest.fixture
def engine(monkeypatch, study_dir, tmp_path):
    """What stands in for engine and tables: finishes the jobs it is told to, and counts its calls."""

    class Engine:
        finishes = frozenset()
        breaks = True
        calls: list = []
        code = 0

    def do(study_dir, **options):
        Engine.calls.append(options)
        for job in jobs_of(read_study(tmp_path / "two.yml"), tmp_path / "cache" / "weights"):
            if job.kind in Engine.finishes:
                _finish(study_dir, job, tmp_path)
            elif job.kind == "standins" and Engine.breaks:
                job_folder(study_dir, job).mkdir(parents=True, exist_ok=True)
                (job_folder(study_dir, job) / "log.txt").write_text("it broke")

        return Engine.code

    Engine.calls = []
    monkeypatch.setattr(whole_study, "snakemake_is_here", lambda: True)
    monkeypatch.setattr(whole_study, "do_by_snakemake", do)
    monkeypatch.setattr("dpcxr_core.collecting.study_tables.collect_study", _collect)
    return Engine


def test_what_failed_is_named_with_its_log_and_what_waits_for_it_is_counted(words, jobs, engine, study_dir, capsys):
    engine.finishes = {"data"}
    assert cli.main(words) == 1
    said = capsys.readouterr().out
    standins = next(job for job in jobs if job.kind == "standins")
    random = next(job for job in jobs if job.cell and job.cell.initialisation == "random")
    domain = next(job for job in jobs if job.cell and job.cell.initialisation == "domain")
    assert f"FAILED {standins.name}: {job_folder(study_dir, standins) / 'log.txt'}" in said
    assert f"not begun: {random.name}" in said
    assert domain.name not in said
    assert "1 jobs need one that is not done, and were not begun" in said
    assert "4 of 4 jobs to do" in said


def test_done_once_there_is_nothing_to_do(words, engine, capsys):
    engine.finishes = {"data", "standins", "cell"}
    assert cli.main([*words, "--cores", "3"]) == 0
    assert cli.main(words) == 0
    assert "nothing to do: all 4 jobs are done" in capsys.readouterr().out
    ((options),) = engine.calls
    assert options["n_cores"] == 3


def test_what_failed_in_an_earlier_call_and_was_not_begun_in_this_one_did_not_fail(
    words, jobs, engine, study_dir, capsys
):
    engine.finishes = {"data"}
    assert cli.main(words) == 1
    assert "FAILED" in capsys.readouterr().out
    old = 1e9
    for log in study_dir.glob("jobs/*/log.txt"):
        os.utime(log, (old, old))
    engine.breaks, engine.code = False, 2  # as after a profile with an option that Snakemake does not have
    assert cli.main(words) == 1
    said = capsys.readouterr().out
    assert "FAILED" not in said
    assert f"Snakemake ended with code 2; its own log is in {study_dir}/.snakemake/log" in said
    standins = next(job for job in jobs if job.kind == "standins")
    assert f"not begun: {standins.name}" in said


def test_tables_are_collected_again_after_a_kill_in_collecting(words, engine, study_dir, monkeypatch, capsys):
    engine.finishes = {"data"}
    assert cli.main(words) == 1
    stale = (study_dir / "tables" / "tables.json").read_text()

    def killed(*_, **__):
        raise KeyboardInterrupt

    engine.finishes = {"data", "standins", "cell"}
    with monkeypatch.context() as patched:
        patched.setattr("dpcxr_core.collecting.study_tables.collect_study", killed)
        assert cli.main(words) == 130
    assert (study_dir / "tables" / "tables.json").read_text() == stale  # all jobs are done, and the tables do not know
    capsys.readouterr()
    assert cli.main(words) == 0
    assert "nothing to do" not in capsys.readouterr().out
    assert len(engine.calls) == 2
    assert cli.main(words) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_tables_are_collected_again_where_only_roles_changed(words, engine, capsys):
    engine.finishes = {"data", "standins", "cell"}
    assert cli.main(words) == 0
    Path(words[1]).write_text(yaml.safe_dump(SMALL_STUDY | {"roles": {"domain": "domain"}}))
    capsys.readouterr()
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "the tables are in" in said
    assert "nothing to do" not in said
    assert len(engine.calls) == 1  # and nothing was trained again


def test_another_file_of_listed_weights_in_the_cache_does_its_cells_again(words, engine, tmp_path, capsys):
    mine = {"random": {"weights": "random"}, "mimic": {"weights": "mimic_supervised"}}
    stated = SMALL_STUDY | {"initialisations": mine, "architectures": ["convnext_small"]}
    Path(words[1]).write_text(yaml.safe_dump(stated))
    file = tmp_path / "cache" / "weights" / listed_weights()["convnext_small.mimic_supervised"]["file"]
    file.parent.mkdir(parents=True)
    file.write_text("some")
    engine.finishes = {"data", "cell"}
    assert cli.main(words) == cli.main(words) == 0
    assert "nothing to do: all 3 jobs" in capsys.readouterr().out
    file.write_text("others")
    assert cli.main(words) == 0
    assert "1 of 3 jobs to do" in capsys.readouterr().out


def test_cores_are_the_profiles_business(words, engine, monkeypatch):
    assert cli.main([*words, "--profile", "slurm"]) == 1
    assert cli.main(words) == 1
    on_cluster, here = engine.calls
    assert on_cluster["n_cores"] is None
    assert on_cluster["profile"].name == "slurm"
    assert here["n_cores"] is None
    assert here["profile"].name == "local"


def test_one_call_at_a_time(words, study_dir, engine, capsys):
    with held(study_dir / ".lock", wait=False):
        assert cli.main(words) == 1
    assert f"another process is at the study in {study_dir}" in capsys.readouterr().err
    assert not engine.calls


def test_without_snakemake_jobs_are_done_one_after_another(words, engine, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(whole_study, "snakemake_is_here", lambda: False)
    monkeypatch.setattr(whole_study, "do_in_a_loop", lambda *_, **options: seen.append(options))
    assert cli.main([*words, "--cores", "2"]) == 1
    assert seen[0]["n_cores"] == 2
    assert "one job after another" in capsys.readouterr().out
    assert cli.main([*words, "--profile", "slurm"]) == 1
    assert "--profile slurm needs Snakemake: pip install" in capsys.readouterr().err


def test_nothing_to_do_is_said_without_torch(words, jobs, study_dir, tmp_path):
    for job in jobs:
        _finish(study_dir, job, tmp_path)
    _collect(read_study(Path(words[1])), study_dir, weights_dir=tmp_path / "cache" / "weights")
    asked = (
        "import sys; from dpcxr_core.cli import main; from dpcxr_core.running import results; "
        "results.missing_scores = results.read_description = lambda *_: {}; "
        f"main({words!r}); sys.exit('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", asked], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "nothing to do" in ran.stdout
