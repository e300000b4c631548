"""Per-layer rules: the ordinary forward, and a backward that records per-image gradients.

Each rule is an autograd function. Its backward returns the gradient of the layer's *input* as usual, returns
none for the layer's parameters, and hands a record of their per-image gradients to the book-keeper instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from timm.layers import LayerNorm as TimmLayerNorm
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from dpcxr_core.privacy.errors import UnsupportedLayerError
from dpcxr_core.privacy.recorder import Recorder
from dpcxr_core.privacy.records import InstantiatedGradients, OuterProducts, instantiated

Forward = Callable[[nn.Module, Recorder, Tensor], Tensor]


class _Linear(torch.autograd.Function):
    """``x (n, ..., n_in)`` to ``(n, ..., n_out)``; everything between is a position."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, recorder: Recorder) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weight, ctx.bias, ctx.recorder = weight, bias, recorder
        return F.linear(x, _like(x, weight), _like(x, bias))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x,), weight = ctx.saved_tensors, ctx.weight
        gradient = gradients[0]
        shape = (x.shape[0], math.prod(x.shape[1:-1]))
        by_position = gradient.reshape(*shape, gradient.shape[-1])
        if ctx.needs_input_grad[1]:
            ctx.recorder.receive(OuterProducts(weight, x.reshape(*shape, x.shape[-1]), by_position))
        if ctx.needs_input_grad[2]:
            ctx.recorder.receive(instantiated(ctx.bias, by_position.sum(1, dtype=ctx.bias.dtype)))
        x_gradient = gradient @ _like(gradient, weight) if ctx.needs_input_grad[0] else None
        return x_gradient, None, None, None


class _Convolution(torch.autograd.Function):
    """A convolution with one group, or with one input and one output channel per group."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: dict[str, Any], recorder: Recorder
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weight, ctx.bias, ctx.geometry, ctx.recorder = weight, bias, geometry, recorder
        return F.conv2d(x, _like(x, weight), _like(x, bias), **geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x,), weight = ctx.saved_tensors, ctx.weight
        gradient = gradients[0]
        if ctx.needs_input_grad[1]:
            record = _dense_record if ctx.geometry["groups"] == 1 else _depthwise_record
            ctx.recorder.receive(record(weight, x, gradient, **ctx.geometry))
        if ctx.needs_input_grad[2]:
            ctx.recorder.receive(instantiated(ctx.bias, gradient.sum((2, 3), dtype=ctx.bias.dtype)))
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = convolution_input_gradient(x, _like(x, weight), gradient, **ctx.geometry)
        return x_gradient, None, None, None, None


def convolution_input_gradient(
    x: Tensor,
    weight: Tensor,
    gradient: Tensor,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """Gradient of the input ``x`` of a convolution, from the ``gradient`` of its output."""
    # torch.nn.grad.conv2d_input does the same but hides the layout of x, and is up to 6 times slower.
    geometry = (list(stride), list(padding), list(dilation), False, [0, 0], groups)
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, *geometry, [True, False, False])[0]


def _dense_record(
    weight: nn.Parameter,
    x: Tensor,
    gradient: Tensor,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> OuterProducts:
    """A convolution seen as one linear map applied to every patch."""
    n_images = x.shape[0]
    height, width = gradient.shape[2:]
    kernel = (weight.shape[2], weight.shape[3])
    by_position = gradient.flatten(2).transpose(1, 2)
    if kernel == stride and padding == (0, 0) and dilation == (1, 1):
        # Patches do not overlap, so each is cut out once; channels last, so that it is cut in long pieces.
        cropped = x[:, :, : height * kernel[0], : width * kernel[1]].permute(0, 2, 3, 1)
        rows = cropped.reshape(n_images, height, kernel[0], width, -1)
        patches = rows.transpose(2, 3).reshape(n_images, height * width, -1)
        return OuterProducts(weight, patches, by_position, channels_last=kernel != (1, 1))
    patches = F.unfold(x, kernel, dilation=dilation, padding=padding, stride=stride).transpose(1, 2)
    return OuterProducts(weight, patches, by_position)


def _depthwise_record(weight: nn.Parameter, x: Tensor, gradient: Tensor, **geometry: Any) -> InstantiatedGradients:
    rows = depthwise_gradients(x, gradient, weight.shape, **geometry)
    return instantiated(weight, rows.to(weight.dtype))


def depthwise_gradients(
    x: Tensor,
    gradient: Tensor,
    weight_shape: torch.Size,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """``(n_images, *weight_shape)`` per-image weight gradients of a depthwise convolution.

    Every channel of every image is correlated with its own output gradient, in one grouped convolution.
    The output gradient acts as the kernel, so stride and dilation change places. On CPU this is many times
    faster than torch's own weight gradient, which sums over images in addition.
    """
    n_images, n_channels = x.shape[:2]
    folded = n_images * n_channels
    # Of a 7x7 kernel on a 2x2 map only the inner 3x3 ever meets the map: the outer taps have no gradient.
    extent = [(size - 1) * step + 1 for size, step in zip(gradient.shape[2:], stride, strict=True)]
    skipped = [max(0, (pad - (size - 1)) // step) for pad, size, step in zip(padding, extent, dilation, strict=True)]
    left_over = [pad - skip * step for pad, skip, step in zip(padding, skipped, dilation, strict=True)]
    if x.shape[2:] == gradient.shape[2:] == (1, 1) and left_over == [0, 0]:
        # A product; torch would convolve one channel of one image at a time.
        correlated = (x * gradient).reshape(folded, 1, 1)
    else:
        correlated = F.conv2d(
            x.reshape(1, folded, *x.shape[2:]),
            gradient.reshape(folded, 1, *gradient.shape[2:]),
            stride=dilation,
            padding=left_over,
            dilation=stride,
            groups=folded,
        )[0]
    if correlated.shape[1:] == weight_shape[2:]:
        return correlated.view(n_images, *weight_shape)
    kernel = correlated.new_zeros(folded, *weight_shape[2:])
    top, left = skipped
    inner = correlated[:, : kernel.shape[1] - top, : kernel.shape[2] - left]
    kernel[:, top : top + inner.shape[1], left : left + inner.shape[2]] = inner
    return kernel.view(n_images, *weight_shape)


class _LayerNorm(torch.autograd.Function):
    """Normalises the last dimension of ``x (n, ..., n_channels)``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, recorder: Recorder
    ) -> Tensor:
        x = x.contiguous()
        y, mean, rstd = torch.native_layer_norm(x, [x.shape[-1]], weight, bias, eps)
        ctx.save_for_backward(x, mean, rstd)
        ctx.weight, ctx.bias, ctx.recorder = weight, bias, recorder
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, mean, rstd = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        shape = (x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])
        by_position = gradient.view(shape)
        if ctx.needs_input_grad[1]:
            # Centre before multiplying: with the mean taken out afterwards, digits cancel.
            products = (x - mean).view(shape).mul_(by_position)
            rows = torch.bmm(rstd.reshape(shape[0], 1, shape[1]), products)
            ctx.recorder.receive(instantiated(ctx.weight, rows.squeeze(1)))
        if ctx.needs_input_grad[2]:
            ctx.recorder.receive(instantiated(ctx.bias, by_position.sum(1)))
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = torch.ops.aten.native_layer_norm_backward(
                gradient, x, [x.shape[-1]], mean, rstd, ctx.weight, ctx.bias, [True, False, False]
            )[0]
        return x_gradient, None, None, None, None


def _like(values: Tensor, parameter: Any) -> Any:
    """``parameter`` (or None) in the precision of ``values``, which under autocast is bfloat16."""
    return parameter if parameter is None else parameter.to(values.dtype)


def _as_autocast(x: Tensor) -> Tensor:
    """``x`` as torch's own layer would take it: autograd functions are not cast by themselves."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _linear(module: nn.Module, recorder: Recorder, x: Tensor) -> Tensor:
    return _Linear.apply(_as_autocast(x), module.weight, module.bias, recorder)


def _convolution(module: nn.Module, recorder: Recorder, x: Tensor) -> Tensor:
    geometry = {name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups")}
    return _Convolution.apply(_as_autocast(x), module.weight, module.bias, geometry, recorder)


def _layer_norm(module: nn.Module, recorder: Recorder, x: Tensor) -> Tensor:
    # Autocast normalises in float32.
    x = x.float() if x.dtype == torch.bfloat16 else x
    return _LayerNorm.apply(x, module.weight, module.bias, module.eps, recorder)


def _layer_norm_2d(module: nn.Module, recorder: Recorder, x: Tensor) -> Tensor:
    return _layer_norm(module, recorder, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


# Exact types: a subclass may compute something else.
_FORWARDS: dict[type[nn.Module], Forward] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.LayerNorm: _layer_norm,
    TimmLayerNorm: _layer_norm,
    LayerNorm2d: _layer_norm_2d,
}


def forward_rule(path: str, module: nn.Module) -> Forward:
    """The recording forward of ``module``.

    Args:
        path: Where the module sits, for the message.
        module: Owns at least one trainable parameter.

    Raises:
        UnsupportedLayerError: No rule gives the per-image gradient of this module.
    """
    kind = type(module)
    own = {name for name, parameter in module.named_parameters(recurse=False) if parameter.requires_grad}
    if kind not in _FORWARDS or not own <= {"weight", "bias"}:
        raise UnsupportedLayerError(
            f"{path}: {kind.__name__} with parameters {sorted(own)} has no per-image gradient rule. "
            "Freeze it (requires_grad_(False)) or replace the layer."
        )
    if isinstance(module, nn.Conv2d):
        _check_convolution(path, module)
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) != 1:
        raise UnsupportedLayerError(
            f"{path}: LayerNorm over {module.normalized_shape} has no per-image gradient rule; "
            "only the last dimension may be normalised"
        )
    return _FORWARDS[kind]


def _check_convolution(path: str, module: nn.Conv2d) -> None:
    depthwise = module.groups == module.in_channels == module.out_channels
    if module.groups != 1 and not depthwise:
        raise UnsupportedLayerError(
            f"{path}: a convolution with {module.groups} groups for {module.in_channels} inputs and "
            f"{module.out_channels} outputs has no per-image gradient rule; use one group or depthwise"
        )
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise UnsupportedLayerError(
            f"{path}: padding={module.padding!r}, padding_mode={module.padding_mode!r} has no per-image "
            "gradient rule; give the padding as numbers and pad with zeros"
        )
