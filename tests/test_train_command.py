"""One run from the command line: killed, resumed, spread over processes, it is the same run."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from dpcxr_core import cli
from dpcxr_core.config import OptimisationChoice, OrdinaryBatches, PrivacySpecification, RunConfig, UserError
from dpcxr_core.data.simulation.prepare_simulated import prepare_simulated
from dpcxr_core.files import write_json
from dpcxr_core.privacy.streams import RandomStreams
from dpcxr_core.study import recording
from dpcxr_core.study.handover import leave_places
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.recording import checkpoint_place, run_key
from dpcxr_core.study.runs import run_one
from dpcxr_core.training import loop
from dpcxr_core.training.checkpoint import CheckpointPlace, read_checkpoint
from dpcxr_core.training.device import Compute
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.record import read_record, read_table
from tests.conftest import PROJECT

PRIVATE = RunConfig(
    dataset="sim-a",
    init_name="convnext_mini.random",
    head="reset",
    optimisation=OptimisationChoice(optimizer="sgd", learning_rate=0.1),
    privacy=PrivacySpecification(
        sample_rate=0.25, n_steps=12, expected_batch_size=12, max_grad_norm=0.5, noise_multiplier=4.0, delta=1e-3
    ),
    target_epsilon=1.0,
    max_shift=2,
    physical_batch_size=5,
)
PATIENT = replace(
    PRIVATE,
    optimisation=OptimisationChoice(optimizer="adamw", learning_rate=1e-3),
    privacy=replace(
        PRIVATE.privacy, expected_batch_size=7, privacy_unit="patient", max_images_per_patient=2, clipping="automatic"
    ),
    augmentation_multiplicity=2,
    ema_decay=0.9,
)
ORDINARY = replace(
    PRIVATE,
    optimisation=OptimisationChoice(optimizer="adamw", learning_rate=1e-3),
    privacy=None,
    target_epsilon=None,
    ordinary=OrdinaryBatches(n_steps=12, batch_size=10),
)
# draws of none, one or two images: fewer than there are ranks
SPARSE = replace(PRIVATE, privacy=replace(PRIVATE.privacy, sample_rate=1 / 48, expected_batch_size=1))
CONFIGS = {"private": PRIVATE, "patient": PATIENT, "ordinary": ORDINARY, "sparse": SPARSE}

# a fresh process for every run at the price of a fork; the imports are done once
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["dpcxr_core.study.runs", "opacus.accountants", "dp_accounting.rdp", "timm"])
COMMAND = """
import os, sys, torch
os.environ.update(environment)
torch.set_num_threads(1)
from dpcxr_core.cli import main
sys.exit(main(words))
"""


@dataclass(frozen=True)
class Study:
    """A hospital of 48 training images, and a folder for runs."""

    run_dir: Path
    places: StudyPlaces

    def place(self, config: RunConfig) -> CheckpointPlace:
        start = build_initialisation(config.init_name, weights_dir=None, seed=config.seed, head=config.head)
        return checkpoint_place(config, start, Compute(torch.device("cpu")), self.places, 0.0)

    def record(self, config: RunConfig) -> Path:
        return self.places.runs / run_key(config, self.places)

    def words(self, config: RunConfig) -> list[str]:
        file = write_json(self.run_dir / "run.json", asdict(config))
        return ["train", str(file), "--run-dir", str(self.run_dir), "--checkpoint-every", "0"]


def _study_in(run_dir: Path, stores: Path) -> Study:
    places = StudyPlaces(
        stores=stores,
        weights=run_dir / "weights",
        runs=run_dir / "runs",
        scores=run_dir / "scores",
        evaluations=run_dir / "evaluations",
        public_dataset="none",
        private_dataset="sim-a",
    )
    leave_places(run_dir, places)
    return Study(run_dir, places)


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    sizes = {"n_train": 48, "n_valid": 24, "n_test": 40, "size": 32}
    prepare_simulated(folder / "sim-a", hospital="sim-a", seed=0, world="declared", progress=False, **sizes)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, stores) -> Study:
    """Every run done in one go, in one process."""
    study = _study_in(tmp_path_factory.mktemp("whole"), stores)
    for config in CONFIGS.values():
        run_one(config, study.places)
    return study


@pytest.fixture
def study(tmp_path, stores) -> Study:
    return _study_in(tmp_path, stores)


def _start(words: Sequence[str], n_ranks: int = 1) -> list:
    """``dpcxr`` with ``words`` in fresh processes, with the environment that torchrun gives them."""
    shared = {}
    if n_ranks > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {"WORLD_SIZE": str(n_ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = []
    for rank in range(n_ranks):
        environment = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} if shared else {}
        names = {"words": list(words), "environment": environment}
        started.append(PROCESSES.Process(target=exec, args=(COMMAND, names)))
        started[-1].start()
    return started


def _wait_for_change(path: Path, is_running: Callable[[], bool]) -> None:
    """Until ``path`` is written anew, or what should write it has ended."""

    def written() -> int:
        try:
            return path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    before, deadline = written(), time.monotonic() + 240
    while written() in (before, 0) and is_running():
        assert time.monotonic() < deadline, f"nothing was written to {path}"
        time.sleep(0.0005)


def _kill_after_checkpoint(study: Study, config: RunConfig, *, n_ranks: int = 1, wait: float = 0.0) -> None:
    """Start the run, and kill -9 all of it ``wait`` seconds after its next checkpoint."""
    path = study.place(config).path
    processes = _start(study.words(config), n_ranks)
    _wait_for_change(path, processes[0].is_alive)
    time.sleep(wait)
    for process in processes:
        process.kill()
        process.join()
    assert processes[0].exitcode == -signal.SIGKILL, "the run ended before it was killed"


def _finish(study: Study, config: RunConfig, *, n_ranks: int = 1) -> Path:
    processes = _start(study.words(config), n_ranks)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * n_ranks
    return study.record(config)


def _assert_same_bits(folder: Path, whole: Path) -> None:
    assert (folder / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    for name in ("ledger", "diagnostics"):
        pd.testing.assert_frame_equal(read_table(folder, name), read_table(whole, name), check_exact=True)
    assert read_record(folder).certificate == read_record(whole).certificate


def _relative_difference(folder: Path, whole: Path) -> float:
    one, other = load_file(folder / "weights.safetensors"), load_file(whole / "weights.safetensors")
    apart = np.concatenate([(one[name] - other[name]).ravel() for name in other])
    return np.linalg.norm(apart) / np.linalg.norm(np.concatenate([value.ravel() for value in other.values()]))


@pytest.mark.parametrize(
    ("name", "waits"), [("private", (0.0, 0.004, 0.017)), ("patient", (0.002, 0.03)), ("ordinary", (0.001, 0.009))]
)
def test_run_killed_at_any_moment_ends_with_the_same_bits(name, waits, study, uninterrupted):
    config = CONFIGS[name]
    reached = []
    for wait in waits:
        _kill_after_checkpoint(study, config, wait=wait)
        reached.append(read_checkpoint(study.place(config)).next_step)
        assert not study.record(config).exists()
    assert reached == sorted(set(reached)), "a restart did not go on where the last one was killed"
    folder = _finish(study, config)
    _assert_same_bits(folder, uninterrupted.record(config))
    assert list((study.places.runs / ".checkpoints").iterdir()) == []
    assert [path.name for path in study.places.runs.iterdir() if not path.name.startswith(".")] == [folder.name]


@pytest.mark.parametrize("name", ["patient", "ordinary", "sparse"])
def test_two_ranks_do_the_run_of_one_process(name, study, uninterrupted):
    config = CONFIGS[name]
    folder, whole = _finish(study, config, n_ranks=2), uninterrupted.record(config)
    assert _relative_difference(folder, whole) < 1e-6
    pd.testing.assert_frame_equal(read_table(folder, "ledger"), read_table(whole, "ledger"), check_exact=True)
    drawn = read_table(whole, "diagnostics")["n_drawn"]
    assert read_table(folder, "diagnostics")["n_drawn"].tolist() == drawn.tolist()
    if name == "sparse":
        assert {0, 1} <= set(drawn)


def test_checkpoint_of_one_process_goes_on_with_two(study, uninterrupted):
    _kill_after_checkpoint(study, PRIVATE)
    folder = _finish(study, PRIVATE, n_ranks=2)
    assert _relative_difference(folder, uninterrupted.record(PRIVATE)) < 1e-6


def test_secret_of_two_ranks_is_one_and_survives_a_kill(study, stores, uninterrupted, tmp_path, monkeypatch):
    secret = replace(PRIVATE, randomness="secret")
    _kill_after_checkpoint(study, secret, n_ranks=2)
    entropy = read_checkpoint(study.place(secret)).entropy
    folder = _finish(study, secret)
    # the same run in one go, by somebody who knows the secret
    monkeypatch.setattr(loop, "secret_streams", lambda: RandomStreams(entropy))
    knowing = _study_in(tmp_path / "knowing", stores)
    assert _relative_difference(folder, run_one(secret, knowing.places)) < 1e-6
    assert _relative_difference(folder, uninterrupted.record(PRIVATE)) > 1e-3  # other draws and noise show
    assert str(entropy) not in (folder / "record.json").read_text()


def test_run_of_torchrun_is_killed_and_goes_on_in_one_process(study, uninterrupted):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "dpcxr_core.cli", *study.words(ORDINARY)]
    # its own session, so that the kill reaches torchrun and its workers at once
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL, start_new_session=True) as started:
        _wait_for_change(study.place(ORDINARY).path, lambda: started.poll() is None)
        os.killpg(started.pid, signal.SIGKILL)
    assert not study.record(ORDINARY).exists()
    assert _relative_difference(_finish(study, ORDINARY), uninterrupted.record(ORDINARY)) < 1e-6


def test_record_of_a_run_repeats_it(uninterrupted, capsys):
    record = uninterrupted.record(ORDINARY) / "record.json"
    before = record.stat().st_mtime_ns
    assert cli.main(["train", str(record), "--run-dir", str(uninterrupted.run_dir)]) == 0
    assert capsys.readouterr().out.strip() == str(record.parent)
    assert record.stat().st_mtime_ns == before


def test_images_that_changed_under_a_checkpoint_are_refused(study, stores, tmp_path):
    mine = tmp_path / "stores" / "sim-a"
    mine.mkdir(parents=True)
    for file in (stores / "sim-a").iterdir():
        (mine / file.name).write_bytes(file.read_bytes())
    study = _study_in(tmp_path, mine.parent)
    images = np.load(mine / "images.npy", mmap_mode="r+")
    images[0] += 1
    images.flush()
    with pytest.raises(UserError, match=r"images\.npy has SHA-256"):
        run_one(PRIVATE, study.places)


def test_identity_of_a_checkpoint_names_what_decides_draws_and_gradients(study, stores, tmp_path):
    identity = dict(study.place(PRIVATE).identity)
    other_noise = dict(study.place(replace(PRIVATE, privacy=replace(PRIVATE.privacy, noise_multiplier=2.0))).identity)
    assert {name for name in identity if identity[name] != other_noise[name]} == {"privacy specification", "choices"}
    other_seed = dict(study.place(replace(PRIVATE, seed=1)).identity)
    assert "choices" in {name for name in identity if identity[name] != other_seed[name]}
    sizes = {"n_train": 48, "n_valid": 24, "n_test": 40, "size": 32}
    prepare_simulated(tmp_path / "s" / "sim-a", hospital="sim-a", seed=1, world="declared", progress=False, **sizes)
    other_images = dict(_study_in(tmp_path / "other", tmp_path / "s").place(PRIVATE).identity)
    assert {name for name in identity if identity[name] != other_images[name]} == {"data"}
    names = {"code", "libraries", "data", "initialisation", "privacy specification", "choices", "device"}
    assert set(identity) == names


@pytest.mark.parametrize("what", ["_deciding_code", "deciding_libraries"])
def test_checkpoint_of_other_code_is_refused_by_name(what, study, monkeypatch):
    _kill_after_checkpoint(study, PRIVATE)
    other = {"_deciding_code": "other", "deciding_libraries": {"torch": "0.1"}}[what]
    monkeypatch.setattr(recording, what, lambda: other)
    named = {"_deciding_code": "code: .* there, other here", "deciding_libraries": "libraries: .* there, torch 0.1"}
    with pytest.raises(UserError, match=named[what]):
        run_one(PRIVATE, study.places)
    assert study.place(PRIVATE).path.exists()


def test_secret_goes_also_where_the_run_was_killed_between_record_and_clean_up(study, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(recording, "remove_checkpoint", lambda place: None)
        folder = run_one(PRIVATE, study.places, checkpoint_every=0.0)
    path = study.place(PRIVATE).path
    assert path.exists()
    before = (folder / "record.json").stat().st_mtime_ns
    assert run_one(PRIVATE, study.places) == folder
    assert not path.exists()
    assert (folder / "record.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no run configuration"),
        ("{", "is not JSON"),
        ("[]", "is not a RunConfig"),
        (json.dumps({"dataset": "sim-a", "init": "x"}), "unexpected keyword argument 'init'"),
        (json.dumps({**asdict(PRIVATE), "seed": -1}), "seed must not be negative"),
        (json.dumps({**asdict(PRIVATE), "max_shift": "two"}), "is not a RunConfig"),
    ],
)
def test_bad_configuration_is_one_line(content, words, study, capsys):
    file = study.run_dir / "bad.json"
    if content is not None:
        file.write_text(content)
    assert cli.main(["train", str(file), "--run-dir", str(study.run_dir)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dpcxr: ")
    assert words in line


def test_bad_time_between_checkpoints_is_one_line(study, capsys):
    words = study.words(PRIVATE)
    assert cli.main([*words[:-1], "-1"]) == 1
    assert "every 0 or more seconds; got -1" in capsys.readouterr().err


def test_help_shows_both_ways_to_start(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    example = capsys.readouterr().out.split("example:")[1]
    assert "dpcxr train" in example
    assert "torchrun" in example
