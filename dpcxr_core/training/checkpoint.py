"""Checkpoints: a run that is killed at any moment goes on as if it had never stopped.

A checkpoint holds all that the next step depends on, and the entropy of the run, from which its draws and its noise
follow. That entropy is a secret of private runs: the file is closed to everybody else from its first byte on, and
goes away with ``remove_checkpoint`` when the run is complete.
"""

from __future__ import annotations

import glob
import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from dpcxr_core.config import UserError
from dpcxr_core.locks import held


@dataclass(frozen=True)
class Checkpoint:
    """State of a run between two steps: plain values and tensors.

    Attributes:
        next_step: The step to go on with, from 0.
        entropy: Secret of the run's ``RandomStreams``.
        model: ``state_dict`` of the model that is trained.
        average: State of the moving average of the weights; None without one.
        optimizer: ``state_dict`` of the optimizer.
        ledger: Rows of the ledger so far, one a step.
        diagnostics: Rows of the diagnostics so far, one a step.
    """

    next_step: int
    entropy: int
    model: dict[str, Any]
    average: dict[str, Any] | None
    optimizer: dict[str, Any]
    ledger: list[dict[str, Any]]
    diagnostics: list[dict[str, Any]]


@dataclass(frozen=True)
class CheckpointPlace:
    """Where the checkpoint of one run is, what that run is, and how often to write.

    Attributes:
        path: The file.
        identity: Everything that decides draws and gradients, by name: code, data, privacy specification, ... The
            same noise must never fall on other gradients, so a checkpoint of another identity is refused.
        every_seconds: Least time between two writes; 0 writes after every step.
    """

    path: Path
    identity: Mapping[str, str]
    every_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.every_seconds >= 0:
            raise UserError(f"a checkpoint is written every 0 or more seconds; got {self.every_seconds}")


def write_checkpoint(place: CheckpointPlace, checkpoint: Checkpoint) -> None:
    """Puts ``checkpoint`` in the place of the one before it.

    Promise:
        Killed at any moment, and after a loss of power, the file is the old one or the new one, whole. Only the
        user can read it. What an earlier write left half done is swept away.
    """
    place.path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(place)
    # mkstemp opens with mode 0600; beside the final name, as only a rename within one folder is atomic
    descriptor, partial = tempfile.mkstemp(dir=place.path.parent, prefix=f".{place.path.name}.", suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as file:
            values = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
            torch.save({"identity": dict(place.identity), **values}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, place.path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    _sync_folder(place.path.parent)


def read_checkpoint(place: CheckpointPlace) -> Checkpoint | None:
    """The checkpoint at ``place``, its tensors on the CPU; None if there is none.

    Raises:
        UserError: The file is damaged, or belongs to a run of another identity: every entry that differs is named.
    """
    if not place.path.exists():
        return None
    values = _whole_content(place.path)
    _check_identity(place, values.pop("identity"))
    return Checkpoint(**values)


def remove_checkpoint(place: CheckpointPlace) -> None:
    """Removes the checkpoint of a run that is complete, and its secret with it."""
    _sweep(place)
    place.path.unlink(missing_ok=True)
    _lock_path(place).unlink(missing_ok=True)


@contextmanager
def only_writer(place: CheckpointPlace) -> Iterator[None]:
    """Holds ``place`` for this process; another process that wants the same run waits here for its end.

    The hold ends with the process, however it ends. The other ranks of a process that waits here lose patience before
    it does, after half an hour: start such a run again when the first one is done.
    """
    with held(_lock_path(place), wait=True):
        yield


def _lock_path(place: CheckpointPlace) -> Path:
    return place.path.with_name(f".{place.path.name}.lock")


def _whole_content(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not compare the checksums that torch.save writes
        if damaged is not None:
            raise zipfile.BadZipFile(f"checksum of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, RuntimeError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the checkpoint {path} is damaged ({reason}); delete it to begin this run again from its first step"
        ) from None


def _check_identity(place: CheckpointPlace, found: Mapping[str, str]) -> None:
    differing = [
        f"{name}: {found.get(name, 'not stated')} there, {place.identity.get(name, 'not stated')} here"
        for name in {**found, **place.identity}
        if found.get(name) != place.identity.get(name)
    ]
    if differing:
        raise UserError(
            f"the checkpoint {place.path} was written by another run ({'; '.join(differing)}). Going on would "
            "add the same noise to other gradients. Restore what differs, or delete the checkpoint to begin "
            "again from the first step."
        )


def _sweep(place: CheckpointPlace) -> None:
    for leftover in place.path.parent.glob(f".{glob.escape(place.path.name)}.*.partial"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes the new name of a file outlast a loss of power; Windows does so by itself, and opens no folders."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
