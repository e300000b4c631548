"""A study of four cells on one small simulated hospital, and whole runs of it by the command line."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dpcxr_core.config import UserError
from dpcxr_core.planning.jobs import Job, is_done, job_folder, jobs_of
from dpcxr_core.planning.study_file import Study, read_study
from dpcxr_core.running.results import leave_result
from dpcxr_core.study.handover import leave_places
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.preparation import prepare_study
from tests.conftest import PROJECT

DATA = {
    "data_source": "simulated",
    "n_public": 100,
    "n_train": 120,
    "n_valid": 60,
    "n_test": 200,
    "n_external_test": 80,
}
SLURM_CONF = Path("/etc/slurm/slurm.conf")
STATED = {
    "question": "Does the machinery run?",
    "data": {"sim-a": DATA},
    "initialisations": {"random": {"weights": "random"}},
    "architectures": ["convnext_mini"],
    "epsilons": [8, float("inf")],
    "seeds": [0, 1],
    "mechanism": {"delta": 1.0e-3, "expected_batch_size": 24, "n_steps": 3, "max_grad_norm": 0.5},
    "recipe": {"randomness": "seeded", "ordinary_n_steps": 4},
    "evaluation": {"n_resamples": 20},
}


def none_missing(run: Path, places: StudyPlaces) -> dict[str, Path]:
    """In place of ``missing_scores``, for runs without images: all is scored of a run that has a record."""
    if not (run / "record.json").is_file():
        raise UserError(f"{run} holds no finished run")
    return {}


@dataclass(frozen=True)
class Tried:
    """A study file, and where ``dpcxr study`` is told to leave things."""

    file: Path
    runs: Path
    cache: Path

    @property
    def study(self) -> Study:
        return read_study(self.file)

    @property
    def study_dir(self) -> Path:
        return self.runs / self.file.stem

    @property
    def jobs(self) -> dict[str, Job]:
        return {job.name: job for job in jobs_of(self.study)}

    def folder(self, job: Job) -> Path:
        return job_folder(self.study_dir, job)

    def cell_jobs(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.kind == "cell"]

    def done(self) -> set[str]:
        return {name for name, job in self.jobs.items() if is_done(self.study_dir, job)}

    def command(self, *further: str) -> list[str]:
        words = [sys.executable, "-m", "dpcxr_core.cli", "study", str(self.file), "--runs", str(self.runs)]
        return [*words, "--cache", str(self.cache), *further]

    def ran(self, *further: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": ""}
        command = self.command(*further)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def prepare(self) -> None:
        """Do the data jobs in this process, without a chapter."""
        for job in self.jobs.values():
            if job.kind == "data":
                leave_places(self.folder(job), prepare_study(job.choice, self.cache, jobs=1))
                leave_result(self.folder(job), 0.0)


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """A cache that holds the stores of the tests' hospitals from the first test on."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tried(tmp_path, cache) -> Callable[..., Tried]:
    """A study file of ``STATED`` with changes, by name; in a folder with a blank in its name, as people have them."""

    def make(**changes) -> Tried:
        file = tmp_path / "my studies" / "tiny.yml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump({**STATED, **changes}))
        return Tried(file, tmp_path / "runs of mine", cache)

    return make


@dataclass(frozen=True)
class Slurm:
    """A SLURM of one node that runs on this machine until the test ends."""

    folder: Path

    def n_submitted(self) -> int:
        """Batch jobs that the controller has started so far."""
        return (self.folder / "slurmctld.log").read_text().count("sched: Allocate JobId=")


@pytest.fixture
def slurm(tmp_path_factory, monkeypatch) -> Iterator[Slurm]:
    """A real SLURM: munge, controller and one node, all ours; the test skips, saying why, where it cannot start."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo")
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}; Debian has them in slurm-wlm and munge")
    if os.geteuid() != 0:
        pytest.skip("a SLURM of one's own starts as root only")
    monkeypatch.setenv("PATH", path)
    if SLURM_CONF.exists() and not SLURM_CONF.is_symlink():
        pytest.skip(f"{SLURM_CONF} is there: this machine is part of a SLURM, which is left alone")
    folder = tmp_path_factory.mktemp("slurm")
    # Snakemake's plugin takes SLURM_CONF from the environment of a job, so the file has to be where srun looks for it
    SLURM_CONF.unlink(missing_ok=True)
    SLURM_CONF.symlink_to(_write_slurm_conf(folder))
    commands = {
        "munged": ["munged", "--foreground", "--force", *_munge_files(folder)],
        "slurmctld": ["slurmctld", "-D"],
        "slurmd": ["slurmd", "-D"],
    }
    with ExitStack() as running:
        running.callback(SLURM_CONF.unlink)
        for name, command in commands.items():
            said = running.enter_context((folder / f"{name}.out").open("w"))
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
            running.callback(process.wait)
            running.callback(process.terminate)
            time.sleep(0.5)
        if not _node_is_idle():
            said = {name: (folder / f"{name}.out").read_text()[-500:] for name in commands}
            pytest.skip(f"SLURM did not start: {said}")
        yield Slurm(folder)


def _node_is_idle() -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        states = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False).stdout
        if states.split() == ["idle"]:
            return True
        time.sleep(0.5)
    return False


def _munge_files(folder: Path) -> list[str]:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    folder.chmod(0o755)  # munge trusts no folder that others may write to
    files = {"key-file": key.name, "socket": "munge.socket", "pid-file": "munged.pid", "seed-file": "seed"}
    return [f"--{option}={folder / name}" for option, name in files.items()]


def _write_slurm_conf(folder: Path) -> Path:
    host, n_cores = socket.gethostname().partition(".")[0], os.cpu_count()
    for name in ("spool", "state"):
        (folder / name).mkdir()
    lines = f"""
    ClusterName=ours
    SlurmctldHost={host}
    SlurmctldPort={_free_port()}
    SlurmdPort={_free_port()}
    SlurmUser=root
    SlurmdUser=root
    AuthType=auth/munge
    AuthInfo=socket={folder}/munge.socket
    StateSaveLocation={folder}/state
    SlurmdSpoolDir={folder}/spool
    SlurmctldPidFile={folder}/slurmctld.pid
    SlurmdPidFile={folder}/slurmd.pid
    SlurmctldLogFile={folder}/slurmctld.log
    SlurmdLogFile={folder}/slurmd.log
    ProctrackType=proctrack/linuxproc
    TaskPlugin=task/none
    SelectType=select/cons_tres
    SelectTypeParameters=CR_Core
    SlurmdParameters=config_overrides
    MpiDefault=none
    ReturnToService=2
    MinJobAge=600
    NodeName={host} CPUs={max(4, n_cores)} RealMemory=64000 State=UNKNOWN
    PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
    """
    conf = folder / "slurm.conf"
    conf.write_text(textwrap.dedent(lines))
    return conf


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return found.getsockname()[1]
