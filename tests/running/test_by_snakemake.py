import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dpcxr_core.collecting.study_tables import collect_study
from dpcxr_core.config import UserError
from dpcxr_core.files import write_json
from dpcxr_core.running.by_snakemake import (
    LOCAL,
    PROFILES,
    do_by_snakemake,
    profile_folder,
    snakemake_is_here,
    snakemake_words,
)
from dpcxr_core.running.in_process import run_study_here
from dpcxr_core.training.record import read_record
from tests.conftest import PROJECT

pytestmark = pytest.mark.skipif(not snakemake_is_here(), reason="needs the extra cluster: Snakemake")


def test_profiles_come_by_name_or_as_a_folder(tmp_path):
    assert profile_folder("slurm") == PROFILES / "slurm"
    (tmp_path / "config.yaml").write_text("jobs: 1")
    assert profile_folder(str(tmp_path)) == tmp_path
    with pytest.raises(UserError, match="'slrum' is no folder .* nor one of kubernetes, local, slurm"):
        profile_folder("slrum")


@pytest.mark.parametrize("name", ["local", "slurm", "kubernetes"])
def test_every_option_of_a_profile_is_one_of_snakemake(name):
    from snakemake.cli import get_argument_parser

    known = {option for action in get_argument_parser()._actions for option in action.option_strings}
    stated = yaml.safe_load((PROFILES / name / "config.yaml").read_text())
    assert {f"--{option}" for option in stated} <= known
    assert stated["executor"] == name


def _tables(folder: Path) -> dict[str, bytes]:
    """All files of tables that say nothing of time, by name."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "costs.parquet"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _killed_after(tiny, n_results: int) -> None:
    """Starts the study, and ends it with SIGKILL when so many jobs are done and another has begun."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": ""}
    command, quiet = tiny.command("--cores", "2"), subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True) as started:
        while started.poll() is None:
            begun = len(list(tiny.study_dir.glob("jobs/*/log.txt")))
            if begun > n_results <= len(tiny.done()):
                break
            time.sleep(0.2)
        assert started.poll() is None, "it ended before it was killed"
        started.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_study_killed_twice_ends_with_the_tables_of_one_that_was_not(tried, tmp_path):
    tiny = tried()
    run_study_here(tiny.study, tiny.study_dir, cache_dir=tiny.cache, n_jobs=2)
    whole = _tables(collect_study(tiny.study, tiny.study_dir))
    assert set(pd.read_parquet(tiny.study_dir / "tables" / "cells.parquet")["state"]) == {"done"}
    shutil.rmtree(tiny.runs)
    for part in ("runs", "scores", "evaluations"):
        shutil.rmtree(tiny.cache / part)
    _killed_after(tiny, 1)
    _killed_after(tiny, 2)
    ran = tiny.ran("--cores", "2")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert _tables(tiny.study_dir / "tables") == whole
    assert not list((tiny.cache / "runs").glob(".checkpoints/*.pt"))

    started = time.monotonic()
    ran = tiny.ran("--cores", "2")
    assert ran.returncode == 0
    assert "nothing to do: all 5 jobs are done" in ran.stdout
    assert time.monotonic() - started < 10


@pytest.mark.slow
def test_one_failing_cell_leaves_the_others_done_and_only_it_and_its_dependants_run_again(tried, tmp_path):
    from tests.running.conftest import DATA

    broken = tmp_path / "weights" / "convnext_mini.safetensors"
    tiny = tried(
        pretraining_data={"sim-b": DATA | {"private_hospital": "sim-b"}},
        initialisations={
            "random": {"weights": "random"},
            "broken": {"weights": f"file:{broken.parent}/{{architecture}}.safetensors"},
            "mine": {"trained_on": "sim-b", "from": "broken"},
        },
        epsilons=[float("inf")],
        seeds=[0],
    )
    tiny.prepare()
    ran = tiny.ran("--cores", "2")
    assert ran.returncode == 1
    by_name = {job.cell.initialisation: job for job in tiny.cell_jobs() if job.dataset == "sim-a"}
    pretraining = next(job for job in tiny.cell_jobs() if job.dataset == "sim-b")
    assert tiny.done() == {by_name["random"].name, *(job.name for job in tiny.jobs.values() if job.kind == "data")}
    failed = dict(re.findall(r"^FAILED (\S+): (.+)$", ran.stdout, re.MULTILINE))
    assert set(failed) == {by_name["broken"].name, pretraining.name}
    assert all(str(broken.with_suffix(".json")) in Path(log).read_text() for log in failed.values())
    assert "1 jobs need one that is not done" in ran.stdout
    states = pd.read_parquet(tiny.study_dir / "tables" / "cells.parquet").set_index("initialisation")["state"]
    assert states["random"] == "done"
    assert states["mine"] != "done"

    kept = _stamps(tiny)
    _write_weights(tiny, by_name["random"], broken)
    ran = tiny.ran("--cores", "2")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert tiny.done() == set(tiny.jobs)
    assert {name: stamp for name, stamp in _stamps(tiny).items() if name in kept} == kept


def _stamps(tiny) -> dict[str, int]:
    """When each result was left."""
    return {path.parent.name: path.stat().st_mtime_ns for path in tiny.study_dir.glob("jobs/*/result.json")}


def _write_weights(tiny, job, file: Path) -> None:
    """The weights of a cell that is done, as a file of weights with its record."""
    from dataclasses import asdict

    from dpcxr_core.planning.jobs import run_of
    from dpcxr_core.releasing.weights_record import weights_record_of
    from dpcxr_core.study.handover import find_places

    run = run_of(tiny.folder(job))
    file.parent.mkdir()
    shutil.copy(run / "weights.safetensors", file)
    record = weights_record_of(read_record(run), find_places(tiny.folder(job)))
    write_json(file.with_suffix(".json"), asdict(record))


@pytest.mark.slow
def test_slurm_runs_the_jobs_and_names_the_one_that_fails(tried, slurm, tmp_path):
    tiny = tried(
        initialisations={"random": {"weights": "random"}, "broken": {"weights": "file:/nowhere/w.safetensors"}},
        epsilons=[float("inf")],
        seeds=[0],
    )
    profile = tmp_path / "profile"
    stated = yaml.safe_load((PROFILES / "slurm" / "config.yaml").read_text())
    # no accounting database here, and every job at once on one small node
    changes = {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 2, "latency-wait": 10}
    changes["retries"] = 0  # what fails here fails again
    (profile / "config.yaml").parent.mkdir()
    (profile / "config.yaml").write_text(yaml.safe_dump(stated | changes))
    ran = tiny.ran("--profile", str(profile))
    assert ran.returncode == 1, ran.stdout + ran.stderr
    by_name = {job.cell.initialisation: job.name for job in tiny.cell_jobs()}
    assert tiny.done() == set(tiny.jobs) - {by_name["broken"]}, ran.stdout + ran.stderr
    (log,) = re.findall(rf"^FAILED {by_name['broken']}: (.+)$", ran.stdout, re.MULTILINE)
    assert "/nowhere/w.json is missing" in Path(log).read_text()
    assert slurm.n_submitted() >= len(tiny.jobs)


def test_a_copied_profile_needs_no_cores_on_the_command_line(tmp_path):
    from snakemake.cli import parse_args
    from snakemake.utils import available_cpu_count

    copied = shutil.copytree(LOCAL, tmp_path / "mine")
    words = snakemake_words(tmp_path, cache_dir=tmp_path, n_cores=None, profile=copied)
    assert parse_args(words)[1].cores == available_cpu_count()
    words = snakemake_words(tmp_path, cache_dir=tmp_path, n_cores=3, profile=copied)
    assert parse_args(words)[1].cores == 3


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_job_that_its_node_lost_is_tried_again(name, tmp_path):
    from snakemake.cli import parse_args

    words = snakemake_words(tmp_path, cache_dir=tmp_path, n_cores=None, profile=PROFILES / name)
    assert parse_args(words)[1].retries == 2


@pytest.mark.parametrize(
    ("stated", "named"),
    [("executor: local\nno-such-option: 1\n", "no-such-option"), ("executor: [local\n", "while parsing")],
)
def test_a_profile_that_snakemake_refuses_is_an_exit_code(stated, named, tmp_path, capfd):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text(stated)
    code = do_by_snakemake(tmp_path, cache_dir=tmp_path, n_cores=1, profile=tmp_path / "mine")
    assert code == 2
    assert named in capfd.readouterr().err
