"""Ordinary training on the CPU with the fast weight gradient of depthwise convolutions that private training uses.

Torch's own takes more time than the rest of a ConvNeXt's step together on many maps. At every map of ConvNeXt that
was measured, 1 to 56 pixels wide, batches of 1 to 64, both memory formats, the two backward convolutions together
were at least as fast this way, so there is no choice by shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dpcxr_core.privacy.layers import convolution_input_gradient, depthwise_gradients


@contextmanager
def fast_depthwise(model: nn.Module) -> Iterator[None]:
    """Within it, depthwise ``Conv2d`` layers of ``model`` have the same values and gradients, sooner.

    Promise:
        Outputs are those of the layers' own forward; gradients differ from torch's by float32 rounding only, and
        accumulate as always. Layers run their own forward in evaluation mode, on a GPU, under autocast, without
        gradients, and where their weight is frozen. On leaving, by an error too, the model is as it was.

    Args:
        model: Any. A layer with as many groups as input and output channels, zero padding given in numbers, and a
            forward that nothing else has replaced is sped up; every other layer is left alone.

    Source:
        The same gradient a single image at a time: ``dpcxr_core.privacy.layers.depthwise_gradients``.
    """
    layers = [module for module in model.modules() if _is_depthwise(module)]
    for layer in layers:
        object.__setattr__(layer, "forward", partial(_forward, layer))
    try:
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _is_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(module) is nn.Conv2d  # a subclass may compute something else
        and module.groups == module.in_channels == module.out_channels
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and "forward" not in module.__dict__
    )


def _forward(layer: nn.Conv2d, x: Tensor) -> Tensor:
    usual = not (layer.training and layer.weight.requires_grad and torch.is_grad_enabled() and x.dim() == 4)
    if usual or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return nn.Conv2d.forward(layer, x)
    geometry = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
    return _Depthwise.apply(x, layer.weight, layer.bias, geometry)


class _Depthwise(torch.autograd.Function):
    """``x (n, n_channels, height, width)`` convolved channel by channel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: dict[str, Any]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return F.conv2d(x, weight, bias, **geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        gradient = gradients[0]
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = convolution_input_gradient(x, weight, gradient, **ctx.geometry)
        weight_gradient = depthwise_gradients(x, gradient, weight.shape, **ctx.geometry).sum(0)
        bias_gradient = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return x_gradient, weight_gradient, bias_gradient, None
