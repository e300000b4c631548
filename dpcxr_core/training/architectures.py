"""The networks by name: ConvNeXts and plain ViTs of timm, and two small enough for a laptop."""

from __future__ import annotations

import difflib
import math
import re
from functools import cache
from typing import Any

import timm
import torch
from timm.models.convnext import ConvNeXt
from torch import nn

from dpcxr_core.config import UserError
from dpcxr_core.data.images import InputTransform

MINI = "convnext_mini"
MINI_DEEP = "convnext_mini_deep"
_MINI_DEPTHS = {MINI: (1, 1, 1, 1), MINI_DEEP: (1, 1, 3, 1)}

# fc1 is followed by a GELU, which more than halves the mean square; fc2 closes a residual branch, which is
# kept smaller than the stream it is added to (there is no layer scale to do it)
_GAINS = {"mlp.fc1": 1.6, "mlp.fc2": 0.7}


# No per-image gradient rule: latent attention pooling, RMS norm, differential attention, bias in parts.
_WITHOUT_RULE = ["*_siglip_[0-9]*", "*_map_*", "*_xp_*", "*_rms*", "vit_dwee*", "vit_dpwee*", "vit_dlittle*"]


def architecture_names() -> list[str]:
    """Names that ``build_architecture`` knows, sorted.

    ``convnext_mini`` and ``convnext_mini_deep``, the ConvNeXts of timm, its plain ViTs and those of DINOv3, as far as
    the privacy engine has a rule for each of their layers.
    """
    return list(_names())


@cache
def _names() -> tuple[str, ...]:
    convnexts = timm.list_models(module="convnext", exclude_filters=_WITHOUT_RULE)
    return tuple(sorted([*_MINI_DEPTHS, *convnexts, *_vits()]))


@cache
def _vits() -> frozenset[str]:
    plain = timm.list_models("vit_*", module="vision_transformer", exclude_filters=_WITHOUT_RULE)
    # the same with "_qkvb" behind has the bias of queries and values outside the layer that it belongs to
    return frozenset([*plain, *timm.list_models("vit_*_dinov3", module="eva")])


def check_architecture(architecture: str) -> None:
    """Refuse a name that ``build_architecture`` does not know.

    Raises:
        UserError: ``architecture`` is unknown, or a network of timm with layers that cannot be trained privately;
            near names are given.
    """
    known = architecture_names()
    if architecture in known:
        return
    near = ", ".join(difflib.get_close_matches(architecture, known, n=3) or [MINI, "convnext_tiny"])
    if timm.models.is_model_in_modules(architecture, ("convnext", "vision_transformer", "eva")):
        raise UserError(
            f"{architecture} has layers for which the privacy engine has no per-image gradient rule; "
            f"near names without them are {near}"
        )
    raise UserError(f"no ConvNeXt or plain ViT is named {architecture!r}; did you mean {near}?")


def fitting_image_size(architecture: str, image_size: int) -> int:
    """The largest image size, in pixels and at most ``image_size``, that the patches of ``architecture`` tile.

    A ConvNeXt takes any size. A ViT takes at least one patch.
    """
    if architecture not in _vits():
        return image_size
    patch_size = _patch_size(architecture)
    return max(1, image_size // patch_size) * patch_size


def _patch_size(vit: str) -> int:
    stated = re.search(r"_patch(\d+)", vit)
    assert stated is not None  # every ViT of timm says so
    return int(stated[1])


def timm_options(architecture: str, image_size: int | None) -> dict[str, Any]:
    """What timm must be told besides the name to build ``architecture`` for square images of ``image_size`` pixels.

    Raises:
        UserError: The patches of a ViT do not tile the image.
    """
    options: dict[str, Any] = {"drop_path_rate": 0.0}
    if architecture not in _vits():
        return options
    # with a fixed image size the position embedding is not resampled in every step, which no per-image rule covers
    options["dynamic_img_size"] = False
    if image_size is None:
        return options
    lower = fitting_image_size(architecture, image_size)
    if lower != image_size:
        patch_size = _patch_size(architecture)
        upper = math.ceil(image_size / patch_size) * patch_size
        sizes = f"{lower} or {upper}" if lower < upper else f"{upper}"
        raise UserError(
            f"{architecture} cuts an image into patches of {patch_size} pixels, which do not tile {image_size}; "
            f"prepare images of {sizes} pixels, or name a ViT with other patches"
        )
    return {**options, "img_size": image_size}


def build_architecture(architecture: str, *, n_outputs: int, seed: int, image_size: int | None = None) -> nn.Module:
    """A network with fresh random weights, drawn from ``seed`` alone.

    ``convnext_mini`` has 165k parameters and one input channel; ``convnext_mini_deep`` has two more blocks in its third
    stage, 238k in all. Both draw their weights scaled by fan-in: the constant spread of 0.02 that timm gives every
    ConvNeXt is meant for wide networks, and lets the signal of these narrow ones fade. Networks of timm keep timm's
    own initialisation.

    Args:
        architecture: A name of ``architecture_names``.
        n_outputs: Outputs of the linear head; 0 leaves the head out.
        seed: Seeds the weights. The global random state is left as it was.
        image_size: Side of the square images in pixels. A ViT has a position embedding for this size alone, and
            without it the size that timm states; a ConvNeXt takes any size.

    Raises:
        UserError: ``architecture`` is unknown, or its patches do not tile the image.
    """
    check_architecture(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if architecture not in _MINI_DEPTHS:
            options = timm_options(architecture, image_size)
            return timm.create_model(architecture, pretrained=False, num_classes=n_outputs, **options)
        model = ConvNeXt(
            in_chans=1,
            num_classes=n_outputs,
            dims=(16, 32, 64, 96),
            depths=_MINI_DEPTHS[architecture],
            patch_size=4,
            ls_init_value=None,
        )
        _scale_by_fan_in(model)
    return model


@torch.no_grad()
def _scale_by_fan_in(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            gain = next((gain for end, gain in _GAINS.items() if name.endswith(end)), 1.0)
            fan_in = module.weight[0].numel()
            module.weight.normal_(0.0, gain / math.sqrt(fan_in))
            if module.bias is not None:
                module.bias.zero_()


def per_image_input(architecture: str) -> InputTransform:
    """The input of weights that no data set's statistics belong to: each image standardised by itself."""
    return InputTransform(mode="per_image", in_chans=1 if architecture in _MINI_DEPTHS else 3)


def reset_head(model: nn.Module, n_outputs: int) -> None:
    """Give ``model`` a new linear head of zeros.

    With zeros every score starts at one half, so no private update is spent on unlearning a drawn head.
    """
    model.reset_classifier(n_outputs)  # type: ignore[operator]
    nn.init.zeros_(model.get_parameter(f"{head_name(model)}.weight"))
    nn.init.zeros_(model.get_parameter(f"{head_name(model)}.bias"))


def head_name(model: nn.Module) -> str:
    """Path of the linear head in ``model``: ``head.fc`` in a ConvNeXt, ``head`` in a ViT, also where it is left out."""
    head = model.get_classifier()  # type: ignore[operator]
    return next(path for path, module in model.named_modules() if module is head)


def pooled_features(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What the linear head of ``model`` reads: ``(n, n_features)`` for ``(n, channels, size, size)``."""
    features = model.forward_features(inputs)  # type: ignore[operator]
    return model.forward_head(features, pre_logits=True)  # type: ignore[operator]
