"""Opacus' per-image gradients on the public ConvNeXts: every network, memory format and method in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
import torchvision
from torch import Tensor, nn
from tqdm import tqdm

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.other_engines.gradient_faults import (
    ClippedSum,
    Probe,
    largest_contribution,
    layer_errors,
    opacus_sum,
    probe,
    sum_error,
)
from dpcxr_core.other_engines.opacus_engine import OpacusMethod
from dpcxr_core.privacy.awakened import awakened
from dpcxr_core.privacy.clipping_checks import MEMORY_FORMATS, book_kept_sum
from dpcxr_core.privacy.errors import UnsupportedLayerError
from dpcxr_core.training.architectures import build_architecture

OURS = "this project"
_SEED = 0  # of weights and images
_SIZE = 64  # of the images, in pixels


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


def public_convnext(name: str) -> nn.Module:
    """A ConvNeXt with five outputs and random weights everywhere, in train mode, without stochastic depth.

    The global random state is left as it was.

    Args:
        name: ``torchvision/`` and one of its ConvNeXts, or ``timm/`` and a name of ``build_architecture``.

    Raises:
        UserError: The name begins with neither library.
    """
    library, _, architecture = name.partition("/")
    if library == "timm":
        return awakened(build_architecture(architecture, n_outputs=len(FINDINGS), seed=_SEED), seed=_SEED)
    if library != "torchvision":
        raise UserError(f"a public ConvNeXt is named timm/... or torchvision/...; got {name!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = torchvision.models.get_model(architecture, num_classes=len(FINDINGS), stochastic_depth_prob=0.0)
    return awakened(model, seed=_SEED)


def random_batch(model: nn.Module, n_images: int, size: int = _SIZE) -> tuple[Tensor, Tensor]:
    """Noise images for ``model`` and binary targets: ``(n_images, channels, size, size)`` and ``(n_images, 5)``."""
    generator = torch.Generator().manual_seed(_SEED)
    channels = next(module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d))
    images = torch.randn(n_images, channels, size, size, generator=generator)
    return images, (torch.rand(n_images, len(FINDINGS), generator=generator) < 0.5).float()


def survey_gradients(
    networks: Sequence[str],
    methods: Sequence[OpacusMethod],
    *,
    memory_formats: Sequence[str] = ("contiguous",),
    n_images: int = 3,
) -> GradientSurvey:
    """Every case, and this project's engine beside them; a few seconds a case of a network with 28 million weights."""
    cases: list[dict[str, Any]] = []
    layers: list[pd.DataFrame] = []
    grid = [(network, memory_format) for network in networks for memory_format in memory_formats]
    for network, memory_format in tqdm(grid, desc="gradients", mininterval=5, disable=len(grid) == 1):
        where = {"network": network, "memory_format": memory_format}
        layout = MEMORY_FORMATS[memory_format]
        model = public_convnext(network).to(memory_format=layout)
        images, targets = random_batch(model, n_images)
        probed = probe(model, images.contiguous(memory_format=layout), targets)
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
