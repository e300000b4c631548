import math
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from dpcxr_core.config import UserError
from dpcxr_core.training import checkpoint as module
from dpcxr_core.training.checkpoint import (
    Checkpoint,
    CheckpointPlace,
    only_writer,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)

IDENTITY = {"code": "abc", "data": "sim-a 123", "privacy specification": "sigma 1"}


def _checkpoint(next_step: int = 3, size: int = 5) -> Checkpoint:
    weights = {"weight": torch.arange(size, dtype=torch.float32) + next_step}
    return Checkpoint(
        next_step=next_step,
        entropy=2**127 + next_step,
        model=weights,
        average={"steps": next_step, "weights": weights},
        optimizer={"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        ledger=[{"step": 0, "learning_rate": 0.1, "noise_std": 0.5}],
        diagnostics=[{"step": 0, "loss": math.nan}],
    )


@pytest.fixture
def place(tmp_path) -> CheckpointPlace:
    return CheckpointPlace(tmp_path / "deep" / "run.pt", IDENTITY)


def _same(first: object, second: object) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[name], second[name]) for name in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    return first == second or (first != first and second != second)


def test_checkpoint_survives_the_round_trip(place):
    assert read_checkpoint(place) is None
    write_checkpoint(place, _checkpoint())
    found = read_checkpoint(place)
    for field in fields(Checkpoint):
        assert _same(getattr(found, field.name), getattr(_checkpoint(), field.name)), field.name
    write_checkpoint(place, _checkpoint(4))
    assert read_checkpoint(place).next_step == 4
    assert [path.name for path in place.path.parent.iterdir()] == ["run.pt"]


def test_file_is_closed_to_others_from_its_first_byte(place, monkeypatch):
    modes = []

    def look_while_saving(values, file):
        modes.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        file.write(b"x")

    monkeypatch.setattr(module.torch, "save", look_while_saving)
    before = os.umask(0)
    try:
        write_checkpoint(place, _checkpoint())
    finally:
        os.umask(before)
    assert modes == [0o600]
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("moment", ["save", "fsync", "replace"])
def test_write_that_fails_at_any_moment_leaves_the_old_checkpoint_alone(place, monkeypatch, moment):
    write_checkpoint(place, _checkpoint(1))

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(module.torch if moment == "save" else module.os, moment, fail)
    with pytest.raises(OSError, match="no space"):
        write_checkpoint(place, _checkpoint(2))
    monkeypatch.undo()
    assert read_checkpoint(place).next_step == 1
    assert [path.name for path in place.path.parent.iterdir()] == ["run.pt"]


WRITER = """
import sys
from pathlib import Path
from dpcxr_core.training.checkpoint import CheckpointPlace, write_checkpoint
from tests.training.test_checkpoint import IDENTITY, _checkpoint
for step in range(1, 100_000):
    write_checkpoint(CheckpointPlace(Path(sys.argv[1]), IDENTITY), _checkpoint(step, size=200_000))
"""


def test_killed_writer_leaves_a_whole_checkpoint_and_its_leftovers_are_swept(place):
    for wait in (0.0, 0.013, 0.031):
        command = [sys.executable, "-c", WRITER, str(place.path)]
        with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as writer:
            before = place.path.stat().st_mtime_ns if place.path.exists() else 0
            deadline = time.monotonic() + 60
            while (place.path.stat().st_mtime_ns if place.path.exists() else 0) == before:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            time.sleep(wait)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        found = read_checkpoint(place)
        assert _same(found.model, _checkpoint(found.next_step, size=200_000).model)
    (place.path.parent / f".{place.path.name}.dead.partial").write_bytes(b"half")
    write_checkpoint(place, _checkpoint())
    assert [path.name for path in place.path.parent.iterdir()] == ["run.pt"]


def test_checkpoint_of_another_run_is_refused_by_every_name_that_differs(place):
    write_checkpoint(place, _checkpoint())
    other = {"code": "xyz", "data": "sim-a 123", "privacy specification": "sigma 2", "libraries": "torch 3"}
    with pytest.raises(UserError) as refusal:
        read_checkpoint(replace(place, identity=other))
    text = str(refusal.value)
    for words in ("code: abc there, xyz here", "sigma 1 there, sigma 2 here", "not stated there, torch 3 here"):
        assert words in text
    assert str(place.path) in text
    assert "data" not in text.partition("(")[2].partition(")")[0]
    with pytest.raises(UserError, match="code: abc there, not stated here"):
        read_checkpoint(replace(place, identity={}))


@pytest.mark.parametrize("damage", ["truncated", "one byte", "empty", "other"])
def test_damaged_file_is_refused_by_name(place, damage):
    write_checkpoint(place, _checkpoint(size=1000))
    content = bytearray(place.path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "one byte":
        content[len(content) // 2] ^= 1
    else:
        content = bytearray() if damage == "empty" else bytearray(b"not a checkpoint")
    place.path.write_bytes(content)
    with pytest.raises(UserError, match=r"run\.pt is damaged .* delete it"):
        read_checkpoint(place)


def test_checkpoint_loads_no_code(place):
    write_checkpoint(place, _checkpoint())
    torch.save({"identity": IDENTITY, "next_step": Path("x")}, place.path)
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(place)


def test_removed_checkpoint_leaves_nothing(place):
    write_checkpoint(place, _checkpoint())
    with only_writer(place):
        remove_checkpoint(place)
    assert list(place.path.parent.iterdir()) == []
    remove_checkpoint(place)


HOLDER = """
import sys, time
from pathlib import Path
from dpcxr_core.training.checkpoint import CheckpointPlace, only_writer
with only_writer(CheckpointPlace(Path(sys.argv[1]), {})):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
    Path(sys.argv[1]).write_text("done")
"""


def test_second_process_waits_for_the_first_and_not_for_a_dead_one(place):
    command = [sys.executable, "-c", HOLDER, str(place.path)]
    with subprocess.Popen([*command, "0.5"], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with only_writer(place):
            assert place.path.read_text() == "done"
    with subprocess.Popen([*command, "600"], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        with only_writer(place):
            pass


@pytest.mark.parametrize("every", [-1.0, math.nan])
def test_time_between_writes_is_checked(every):
    with pytest.raises(UserError, match="0 or more seconds"):
        CheckpointPlace(Path("x"), {}, every)
