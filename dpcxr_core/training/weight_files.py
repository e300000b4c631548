"""Weights on disk: a file of tensors and, beside it, a record that says what they are."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dpcxr_core.config import UserError
from dpcxr_core.data.images import InputTransform
from dpcxr_core.files import write_json

WEIGHTS_FILE = "weights.safetensors"  # of a run, and of a released model


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """What a weights file is; its ``.json`` neighbour holds the same.

    Attributes:
        label: The weights in words, for figures.
        input_transform: How pixels became input when the weights were made.
        head_outputs: What each output of the head stands for, in order; empty without a head.
        provenance: How the weights were made: data, recipe, seconds, losses, versions.
    """

    label: str
    input_transform: InputTransform
    head_outputs: tuple[str, ...]
    provenance: dict[str, Any]


def record_from_dict(values: dict[str, Any], source: str) -> WeightsRecord:
    """The record that JSON or YAML ``values`` spell out.

    Raises:
        UserError: A field is missing or cannot be what it should; ``source`` is named.
    """
    try:
        stated = values["input_transform"]
        transform = InputTransform(
            mode=stated["mode"],
            mean=tuple(stated.get("mean", ())),
            std=tuple(stated.get("std", ())),
            in_chans=stated["in_chans"],
        )
        return WeightsRecord(
            label=values["label"],
            input_transform=transform,
            head_outputs=tuple(values["head_outputs"]),
            provenance=values.get("provenance", {}),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{source} is not a record of weights: {type(error).__name__} {error}") from None


def read_weights_record(path: Path) -> WeightsRecord:
    """The record beside the weights file ``path``.

    Raises:
        UserError: There is none, or it lacks a field.
    """
    beside = path.with_suffix(".json")
    try:
        return record_from_dict(json.loads(beside.read_text()), str(beside))
    except FileNotFoundError:
        raise UserError(
            f"{beside} is missing, so the input of {path.name} is unknown; write it: "
            '{"label": "domain supervised", "head_outputs": [], "input_transform": {"mode": "fixed", '
            '"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "in_chans": 3}}'
        ) from None
    except json.JSONDecodeError as error:
        raise UserError(f"{beside} is not JSON: {error}") from None


def write_weights(path: Path, state: dict[str, Tensor], record: WeightsRecord) -> None:
    """Write ``state`` to ``path`` and ``record`` beside it, each whole or not at all.

    The record comes last: where it lies, the weights are complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    os.close(handle)
    try:
        _save(state, Path(partial))
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
    write_json(path.with_suffix(".json"), asdict(record))


def write_weights_of(folder: Path, model: nn.Module) -> None:
    """Write the weights of ``model`` into ``folder``, as ``WEIGHTS_FILE``."""
    _save(model.state_dict(), folder / WEIGHTS_FILE)


def _save(state: dict[str, Tensor], path: Path) -> None:
    safetensors.torch.save_file({name: value.contiguous() for name, value in state.items()}, path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in ``path``, a ``.safetensors``, ``.pth`` or ``.pt`` file.

    No code of the file is run: pickles are read with ``weights_only``. A state dict wrapped as
    ``state_dict`` or ``model`` is unwrapped.

    Raises:
        UserError: The file is missing, of another kind, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; name a file of weights")
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise UserError(f"{path} must be a .safetensors, .pth or .pt file; convert it with safetensors.torch")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path} cannot be read as mere weights ({reason}); save its state dict") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict of tensors; save model.state_dict()")
    return state


def load_state(model: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load ``state`` into ``model``; every name and shape must agree.

    Raises:
        UserError: Names are missing or unknown, shapes differ, or a value is not finite; the first
            three of each are named.
    """
    expected = model.state_dict()
    shapes = [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    complaints = {
        "missing": [name for name in expected if name not in state],
        "unknown": [name for name in state if name not in expected],
        "wrong shape": shapes,
        "not finite": [name for name in state if not state[name].isfinite().all()],
    }
    found = [f"{what}: {', '.join(names[:3])}" for what, names in complaints.items() if names]
    if found:
        raise UserError(f"{source} does not fit the architecture ({'; '.join(found)})")
    model.load_state_dict(state)
