"""Opacus' per-image gradients on the public ConvNeXts: every network, memory format and method in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from dpcxr_core.config import UserError
from dpcxr_core.privacy.errors import UnsupportedLayerError
from dpcxr_core.privacy.gradient_faults import (
    ClippedSum,
    Probe,
    awakened,
    book_kept_sum,
    largest_contribution,
    layer_errors,
    opacus_sum,
    probe,
    sum_error,
)
from dpcxr_core.privacy.opacus_engine import OpacusMethod
from dpcxr_core.training.architectures import build_architecture

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
OURS = "this project"
_N_OUTPUTS = 5


@dataclass(frozen=True)
class GradientSurvey:
    """What was found.

    Attributes:
        cases: One row a network, memory format and method: ``network``, ``memory_format``, ``method``, ``sum_error``
            (relative error of the clipped sum), ``contribution`` (the largest of one random image, in clip norms),
            ``n_parameters``, ``n_wrong`` and ``failure``, the reason where the method gave no gradients; empty cells
            where they do not apply.
        layers: One row a parameter of each case of Opacus: the columns of ``layer_errors``, and which case.
    """

    cases: pd.DataFrame
    layers: pd.DataFrame


def public_convnext(name: str, *, seed: int = 0) -> nn.Module:
    """A ConvNeXt with five outputs and random weights everywhere, in train mode, without stochastic depth.

    Args:
        name: ``torchvision/`` and one of its ConvNeXts, or ``timm/`` and a name of ``build_architecture``.
        seed: Seeds the weights; the global random state is left as it was.

    Raises:
        UserError: The name begins with neither library.
    """
    library, _, architecture = name.partition("/")
    if library == "timm":
        return awakened(build_architecture(architecture, n_outputs=_N_OUTPUTS, seed=seed), seed=seed)
    if library != "torchvision":
        raise UserError(f"a public ConvNeXt is named timm/... or torchvision/...; got {name!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = torchvision.models.get_model(architecture, num_classes=_N_OUTPUTS, stochastic_depth_prob=0.0)
    return awakened(model, seed=seed)


def random_batch(model: nn.Module, n_images: int, size: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise images for ``model`` and binary targets: ``(n_images, channels, size, size)`` and ``(n_images, 5)``."""
    generator = torch.Generator().manual_seed(seed)
    channels = next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d))
    images = torch.randn(n_images, channels, size, size, generator=generator)
    return images, (torch.rand(n_images, _N_OUTPUTS, generator=generator) < 0.5).float()


def summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """``(n_images,)`` losses: binary cross-entropy summed over the outputs."""
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)


def survey_gradients(
    networks: Sequence[str],
    methods: Sequence[OpacusMethod],
    *,
    memory_formats: Sequence[str] = ("contiguous",),
    n_images: int = 3,
    size: int = 64,
) -> GradientSurvey:
    """Every case, and this project's engine beside them; a few seconds a case of a network with 28 million weights."""
    cases: list[dict[str, Any]] = []
    layers: list[pd.DataFrame] = []
    grid = [(network, memory_format) for network in networks for memory_format in memory_formats]
    for network, memory_format in tqdm(grid, desc="gradients", mininterval=5, disable=len(grid) == 1):
        where = {"network": network, "memory_format": memory_format}
        layout = MEMORY_FORMATS[memory_format]
        model = public_convnext(network).to(memory_format=layout)
        images, targets = random_batch(model, n_images, size)
        probed = probe(model, images.contiguous(memory_format=layout), targets, summed_loss)
        for method in methods:
            case = where | {"method": method.name}
            try:
                found = layer_errors(probed, method)
            except (AttributeError, RuntimeError, IndexError) as error:
                cases.append(case | {"failure": f"{type(error).__name__}: {error}"})
                continue
            layers.append(found.assign(**case))
            measured = _measured(probed, opacus_sum(method))
            cases.append(case | measured | {"n_parameters": len(found), "n_wrong": int(found["wrong"].sum())})
        try:
            cases.append(where | {"method": OURS} | _measured(probed, book_kept_sum))
        except UnsupportedLayerError as error:
            cases.append(where | {"method": OURS, "failure": f"refused: {error}"})
    return GradientSurvey(pd.DataFrame(cases), pd.concat(layers, ignore_index=True) if layers else pd.DataFrame())


def _measured(probed: Probe, engine: ClippedSum) -> dict[str, float]:
    # Far below every norm, so that each image is clipped and its contribution shows the bound.
    max_grad_norm = 1e-2 * min(probed.norms)
    return {
        "sum_error": sum_error(probed, engine),
        "contribution": largest_contribution(probed, engine, max_grad_norm),
    }
