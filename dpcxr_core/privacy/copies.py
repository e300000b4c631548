"""Parameters that a model uses as they are: during a recorded forward pass each image gets a copy of its own.

The gradient of copy n is the per-image gradient of image n.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers.grn import GlobalResponseNorm
from timm.models.convnext import ConvNeXtBlock
from timm.models.eva import Eva, EvaBlock
from timm.models.vision_transformer import LayerScale, VisionTransformer
from torch import Tensor, nn

from dpcxr_core.privacy.errors import UnsupportedLayerError
from dpcxr_core.privacy.recorder import Recorder
from dpcxr_core.privacy.records import instantiated


class _CopyPerImage(torch.autograd.Function):
    """``(n_images, *shape)`` copies of a parameter of ``shape``."""

    @staticmethod
    def forward(ctx: Any, parameter: Tensor, n_images: int, recorder: Recorder) -> Tensor:
        ctx.parameter, ctx.recorder = parameter, recorder
        return parameter.detach().expand(n_images, *parameter.shape).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.recorder.receive(instantiated(ctx.parameter, gradients[0]))
        return None, None, None


class ReshapedVector:
    """Stands in for a vector ``(C,)`` that its module reshapes to ``(1, ..., C, ...)`` before use.

    This object answers that one call with ``(n_images, ..., C, ...)``, which broadcasts alike. It can do nothing
    else, so a module that uses the parameter in another way fails loudly instead of losing its gradient.
    """

    def __init__(self, vector: nn.Parameter, n_images: int, recorder: Recorder) -> None:
        self._vector, self._n_images, self._recorder = vector, n_images, recorder

    def reshape(self, *shape: Any) -> Tensor:
        """The copies, with the leading 1 of ``shape`` replaced by the number of images."""
        sizes = tuple(shape[0]) if isinstance(shape[0], tuple | list) else shape
        if sizes[0] != 1:
            raise UnsupportedLayerError(f"a per-image vector is reshaped to (1, ...) before use; got {sizes}")
        copies: Tensor = _CopyPerImage.apply(self._vector, self._n_images, self._recorder)
        return copies.reshape(self._n_images, *sizes[1:])

    view = reshape


def _per_token(parameter: nn.Parameter, n_images: int, recorder: Recorder) -> Tensor:
    """``(n_images, 1, C)`` for a vector that scales ``(n_images, n_tokens, C)``."""
    return _CopyPerImage.apply(parameter, n_images, recorder).unsqueeze(1)


def _tokens(parameter: nn.Parameter, n_images: int, recorder: Recorder) -> Tensor:
    """``(n_images, n_tokens, C)`` for tokens ``(1, n_tokens, C)``."""
    return _CopyPerImage.apply(parameter, n_images, recorder).squeeze(1)


Copy = Callable[[nn.Parameter, int, Recorder], Any]

_TOKENS: dict[str, Copy] = {"cls_token": _tokens, "reg_token": _tokens, "pos_embed": _tokens}
# Exact types: a subclass may use its parameters in another way.
_COPIES: dict[type[nn.Module], dict[str, Copy]] = {
    ConvNeXtBlock: {"gamma": ReshapedVector},
    GlobalResponseNorm: {"weight": ReshapedVector, "bias": ReshapedVector},
    LayerScale: {"gamma": _per_token},
    EvaBlock: {"gamma_1": _per_token, "gamma_2": _per_token},
    VisionTransformer: _TOKENS,
    Eva: _TOKENS,
}


def copies_of(path: str, module: nn.Module) -> dict[str, Copy]:
    """How each parameter that ``module`` itself owns is copied, by name; empty where no rule copies them all.

    Raises:
        UnsupportedLayerError: The module resamples its position embedding on the way, which no copy survives.
    """
    rules = _COPIES.get(type(module), {})
    own = {name for name, parameter in module.named_parameters(recurse=False) if parameter.requires_grad}
    if not own <= set(rules):
        return {}
    if "pos_embed" in own and getattr(module, "dynamic_img_size", False):
        raise UnsupportedLayerError(
            f"{path}: dynamic_img_size resamples the position embedding in every forward pass, which has no "
            "per-image gradient rule; build the model with img_size instead"
        )
    return {name: rules[name] for name in own}
