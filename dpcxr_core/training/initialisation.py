"""Initialisations by name: where the weights of a run start, and the input these weights expect."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dpcxr_core.config import FINDINGS, UserError, content_key
from dpcxr_core.data.images import InputTransform
from dpcxr_core.data.manifests import manifest
from dpcxr_core.training.architectures import (
    MINI,
    build_architecture,
    check_architecture,
    head_name,
    per_image_input,
    reset_head,
    timm_options,
)
from dpcxr_core.training.hub_weights import load_from_hub, translated
from dpcxr_core.training.weight_files import (
    WeightsRecord,
    load_state,
    read_weights,
    read_weights_record,
    record_from_dict,
)

MANIFEST = "weights.yaml"

# the one initialisation that this project makes with a head for the five findings
_WITH_HEAD = f"{MINI}.standin_domain"

STANDIN_LABELS = {
    "standin_supervised": "non-domain supervised (stand-in)",
    "standin_selfsupervised": "non-domain self-supervised (stand-in)",
    "standin_domain": "domain supervised (stand-in)",
}


@dataclass(frozen=True)
class Initialisation:
    """Where a run starts.

    Attributes:
        name: ``architecture.weights_tag``.
        model: Network with five outputs in the order of ``FINDINGS``, in eval mode, all layers trainable.
        input_transform: How pixels become input of these weights.
        has_head: Whether the weights came with a head of their own for the five findings.
        weights_key: Names the content of the weights.
    """

    name: str
    model: nn.Module
    input_transform: InputTransform
    has_head: bool
    weights_key: str


@dataclass(frozen=True)
class _Found:
    """Weights as they were found; ``own_head`` is (weight, bias) for the five findings, if any."""

    model: nn.Module
    input_transform: InputTransform
    weights_key: str
    own_head: tuple[Tensor, Tensor] | None = None


def build_initialisation(
    name: str,
    *,
    weights_dir: Path | None,
    seed: int,
    head: Literal["reset", "kept"],
    image_size: int | None = None,
) -> Initialisation:
    """The initialisation called ``name``.

    The part before the first dot is the architecture (``convnext_mini``, a ConvNeXt or a plain ViT of timm).
    The part after it says which weights:

    - ``random``: drawn from ``seed``;
    - ``standin_supervised``, ``standin_selfsupervised``, ``standin_domain``: pretrained by
      ``ensure_standin`` into ``weights_dir``; ``@key`` behind it picks one of several;
    - ``file:PATH``: a file with its record beside it; or a name of ``data_manifests/weights.yaml``
      that states a ``file``, looked up in ``weights_dir``;
    - any other: public weights of timm (``fb_in1k``, ``dinov3_lvd1689m``), from the hub or its cache.

    The position embedding of a ViT's weights is resampled to ``image_size``.

    Args:
        name: ``architecture.weights_tag``.
        weights_dir: Folder of the stand-ins and of the files that the manifest names.
        seed: Seeds random weights; used by ``random`` only.
        head: "reset" for a new head of zeros; "kept" for the weights' own.
        image_size: Side of the images of the store in pixels. A ViT needs it, and takes timm's own size where it
            is None; a ConvNeXt takes any size.

    Raises:
        UserError: The name is unknown, its weights cannot be had or do not fit, the patches of a ViT do not tile
            the image, or ``head`` is "kept" and the weights have none for the five findings.
    """
    found = _find(name, weights_dir, seed, image_size)
    reset_head(found.model, len(FINDINGS))
    if head == "kept":
        if found.own_head is None:
            raise UserError(
                f"{name} has no head for the five findings to keep; {_WITH_HEAD} has one, and so has a file "
                "whose record names the findings. Set head to 'reset'."
            )
        weight, bias = found.own_head
        with torch.no_grad():
            found.model.get_parameter(f"{head_name(found.model)}.weight").copy_(weight)
            found.model.get_parameter(f"{head_name(found.model)}.bias").copy_(bias)
    return Initialisation(
        name=name,
        model=found.model.eval(),
        input_transform=found.input_transform,
        has_head=found.own_head is not None,
        weights_key=found.weights_key,
    )


def label_of(init_name: str) -> str:
    """The initialisation in words, for figures: what ``init_name`` without its architecture stands for."""
    _, tag = _split(init_name)
    if tag == "random":
        return "random"
    if tag.startswith("file:"):
        return read_weights_record(Path(tag.removeprefix("file:"))).label
    standin = STANDIN_LABELS.get(tag.partition("@")[0])
    return standin or _listed_weights().get(init_name, {}).get("label", tag)


def _find(name: str, weights_dir: Path | None, seed: int, image_size: int | None) -> _Found:
    architecture, tag = _split(name)
    check_architecture(architecture)
    if tag == "random":
        model = build_architecture(architecture, n_outputs=0, seed=seed, image_size=image_size)
        key = content_key(architecture, "random", seed, timm_options(architecture, image_size))
        return _Found(model, per_image_input(architecture), key)
    if tag.startswith("standin_"):
        path = find_standin(name, _needed(weights_dir, name))
        return _from_file(architecture, image_size, path, read_weights_record(path), weights_key=path.stem)
    if tag.startswith("file:"):
        path = Path(tag.removeprefix("file:"))
        return _from_file(architecture, image_size, path, read_weights_record(path))
    stated = _listed_weights().get(name, {})
    if "file" in stated:
        path = _needed(weights_dir, name) / stated["file"]
        return _from_file(architecture, image_size, path, record_from_dict(stated, f"{name} in {MANIFEST}"))
    model, transform, revision = load_from_hub(name, image_size=image_size)
    return _Found(model, transform, revision[:12])


def _split(name: str) -> tuple[str, str]:
    architecture, dot, tag = name.partition(".")
    if not dot or not tag:
        raise UserError(f"a name is architecture.weights_tag, as {MINI}.random; got {name!r}")
    return architecture, tag


def _needed(weights_dir: Path | None, name: str) -> Path:
    if weights_dir is None:
        raise UserError(f"{name} is read from a folder of weights; pass weights_dir")
    return weights_dir


@cache
def _listed_weights() -> dict[str, dict[str, Any]]:
    return manifest(MANIFEST)["weights"]


def find_standin(name: str, weights_dir: Path) -> Path:
    """The weights file of the stand-in ``name`` in ``weights_dir``.

    Args:
        name: ``architecture.standin_tag``, with ``@key`` where the folder holds several of that name.
        weights_dir: Folder that ``ensure_standin`` writes to.

    Raises:
        UserError: The folder holds none of that name, or several and no key says which.
    """
    base, _, key = name.partition("@")
    held = [
        record.with_suffix(".safetensors")
        for record in sorted(weights_dir.glob("*.json"))
        if (not key or record.stem == key) and read_weights_record(record).provenance.get("init_name") == base
    ]
    if not held:
        raise UserError(f"{weights_dir} holds no {name}; run the pretraining chapter, or call ensure_standin")
    if len(held) > 1:
        choices = ", ".join(f"{base}@{path.stem}" for path in held)
        raise UserError(f"{weights_dir} holds {len(held)} weights named {base}; name one of {choices}")
    return held[0]


def _from_file(
    architecture: str, image_size: int | None, path: Path, record: WeightsRecord, weights_key: str | None = None
) -> _Found:
    """The weights in ``path``, which ``record`` describes; a head that the record leaves out is dropped."""
    state = read_weights(path)
    outputs = record.head_outputs
    model = build_architecture(architecture, n_outputs=len(outputs), seed=0, image_size=image_size)
    head = head_name(model)
    if not outputs:
        state = {name: value for name, value in state.items() if not name.startswith(f"{head}.")}
    if model.in_chans != record.input_transform.in_chans:
        raise UserError(
            f"{architecture} takes {model.in_chans} channels, but the record of {path} states "
            f"in_chans {record.input_transform.in_chans}"
        )
    state = translated(state, model, str(path))
    load_state(model, state, str(path))
    own_head = None
    if set(FINDINGS) <= set(outputs):
        rows = [outputs.index(finding) for finding in FINDINGS]
        own_head = (state[f"{head}.weight"][rows], state[f"{head}.bias"][rows])
    return _Found(model, record.input_transform, weights_key or _file_key(path), own_head)


def _file_key(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
