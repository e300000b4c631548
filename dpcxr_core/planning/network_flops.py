"""How much a network computes, from its name alone: what costs on machines that were not measured are scaled by."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dpcxr_core.config import FINDINGS

N_OUTPUTS = len(FINDINGS)
_KERNEL = 7 * 7  # of a ConvNeXt's depthwise convolution
_STEM = 4  # a ConvNeXt's first convolution reads patches of this side
_VIT_DEPTH = {"large": 24}
_VIT_WIDTHS = {"tiny": 192, "small": 384, "base": 768, "large": 1024}
_MINI_WIDTHS: tuple[int, ...] = (16, 32, 64, 96)

# name -> blocks of each of the four stages, width of the first; each further stage is twice as wide
_CONVNEXTS: dict[str, tuple[tuple[int, ...], int]] = {
    "atto": ((2, 2, 6, 2), 40),
    "femto": ((2, 2, 6, 2), 48),
    "pico": ((2, 2, 6, 2), 64),
    "nano": ((2, 2, 8, 2), 80),
    "tiny": ((3, 3, 9, 3), 96),
    "small": ((3, 3, 27, 3), 96),
    "base": ((3, 3, 27, 3), 128),
    "large": ((3, 3, 27, 3), 192),
}


@dataclass(frozen=True)
class NetworkSize:
    """What one image costs, and how much the weights take.

    Attributes:
        forward_flops: Of one image's forward pass: two for each multiplication of a weight or an attention score.
        n_parameters: Weights and biases; norms and layer scales, below one in a hundred, are left out.
    """

    forward_flops: float
    n_parameters: int


def is_small(architecture: str) -> bool:
    """Whether ``architecture`` is one of this project's own, which need no GPU."""
    return architecture in ("convnext_mini", "convnext_mini_deep")


def network_size(architecture: str, image_size: int) -> NetworkSize | None:
    """The size of ``architecture`` for square images of ``image_size`` pixels; None for a family not known here."""
    if is_small(architecture):
        n_third = 3 if architecture.endswith("deep") else 1
        return _convnext((1, 1, n_third, 1), _MINI_WIDTHS, 1, image_size)
    convnext = re.match(r"convnext(?:v2)?_([a-z]+)(?:_|$)", architecture)
    if convnext and convnext[1] in _CONVNEXTS:
        depths, width = _CONVNEXTS[convnext[1]]
        return _convnext(depths, tuple(width * 2**stage for stage in range(len(depths))), 3, image_size)
    vit = re.match(r"vit_([a-z]+)_patch(\d+)", architecture)
    if vit and vit[1] in _VIT_WIDTHS:
        return _vit(_VIT_WIDTHS[vit[1]], _VIT_DEPTH.get(vit[1], 12), int(vit[2]), image_size)
    return None


def _convnext(depths: tuple[int, ...], widths: tuple[int, ...], channels: int, image_size: int) -> NetworkSize:
    side, before, read = image_size, channels, _STEM
    products = n_parameters = 0
    for depth, width in zip(depths, widths, strict=True):
        side //= read
        weights = read**2 * before * width + depth * (_KERNEL * width + 8 * width**2)
        products += side**2 * weights
        n_parameters += weights + width + depth * 6 * width  # biases: of reading, depthwise, four times as wide, back
        before, read = width, 2
    head = before * N_OUTPUTS
    return NetworkSize(2.0 * (products + head), n_parameters + head + N_OUTPUTS)


def _vit(width: int, depth: int, patch: int, image_size: int) -> NetworkSize:
    patches = (image_size // patch) ** 2
    tokens = patches + 1  # and one of its own, from which the head reads
    reading, block = patch**2 * 3 * width, 12 * width**2
    head = width * N_OUTPUTS
    products = patches * reading + depth * (tokens * block + 2 * tokens**2 * width) + head
    biases = width + depth * 9 * width + N_OUTPUTS
    return NetworkSize(2.0 * products, reading + depth * block + tokens * width + head + biases)
