"""Clipped sums of per-image gradients by Opacus, as it ships and with its convolutions' inputs made contiguous.

For comparison only: nothing in this project trains on these gradients unless a reader asks to see what they do.
The layers' own samplers and the optimiser's own clipping are called, and no sampler is registered, since Opacus'
register is shared by the whole process.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from opacus.grad_sample.utils import wrap_model
from opacus.optimizers import DPOptimizer
from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping
from torch import Tensor, nn

from dpcxr_core.config import UserError
from dpcxr_core.privacy.oracle import LossFunction

Mode = Literal["hooks", "functorch", "ghost"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class OpacusMethod:
    """One way of asking Opacus for a clipped sum.

    Attributes:
        mode: Opacus' ``grad_sample_mode``: a rule a layer ("hooks"), ``vmap`` of ``grad`` a layer ("functorch"), or
            norms first and a second backward pass ("ghost").
        fixed: Whether every convolution's input is made contiguous first.
    """

    mode: Mode
    fixed: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"mode must be one of {', '.join(MODES)}; got {self.mode!r}")

    @property
    def name(self) -> str:
        """As in tables: ``Opacus hooks``, ``Opacus hooks, contiguous``."""
        return f"Opacus {self.mode}{', contiguous' if self.fixed else ''}"


METHODS = tuple(OpacusMethod(mode, fixed) for mode in MODES for fixed in (False, True))


class OpacusEngine:
    """A copy of a model inside Opacus. Made by ``wrap``.

    Attributes:
        model: The copy, with the parameter names of the original; ``.grad`` of its parameters is what one trains on.
    """

    def __init__(self, model: nn.Module, method: OpacusMethod) -> None:
        self.model = model
        self._ghost = method.mode == "ghost"
        self._wrapped = wrap_model(model, method.mode, loss_reduction="sum")
        self._trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.SGD(self._trainable, lr=0.0)

    def add_clipped_sum(self, images: Tensor, targets: Tensor, loss: LossFunction, max_grad_norm: float) -> None:
        """Adds the sum of clipped per-image gradients to each ``.grad`` of ``model``.

        Args:
            images: ``(n_images, channels, height, width)``, at least one image: Opacus has no empty batch on ConvNeXt.
            targets: ``(n_images, n_outputs)``.
            loss: Takes logits and targets of n images and returns ``(n,)`` losses.
            max_grad_norm: Clip norm C, in gradient units, positive.
        """
        before = [parameter.grad for parameter in self._trainable]
        self._wrapped.zero_grad(set_to_none=True)
        losses = self._forward(images, targets, loss)
        if self._ghost:
            self._wrapped.max_grad_norm = max_grad_norm
            with _stem_hook_silenced():
                DPTensorFastGradientClipping(self._wrapped, self._optimizer, losses, "sum").backward()
            sums = [parameter.grad for parameter in self._trainable]
        else:
            clipping = DPOptimizer(
                self._optimizer,
                noise_multiplier=0.0,
                max_grad_norm=max_grad_norm,
                expected_batch_size=None,
                loss_reduction="sum",
            )
            self._backward(losses)
            clipping.clip_and_accumulate()
            sums = [parameter.summed_grad for parameter in self._trainable]  # type: ignore[attr-defined]
            clipping.zero_grad()
        for parameter, earlier, found in zip(self._trainable, before, sums, strict=True):
            parameter.grad = found if earlier is None or found is None else earlier.add_(found)

    def per_image_gradients(self, images: Tensor, targets: Tensor, loss: LossFunction) -> dict[str, Tensor]:
        """``(n_images, *shape)`` gradients before clipping, by parameter name; not in mode "ghost".

        Raises:
            UserError: Mode "ghost" makes no per-image gradients; ask for ``per_image_norms``.
        """
        if self._ghost:
            raise UserError('mode "ghost" makes no per-image gradients; ask for per_image_norms')
        self._backward(self._forward(images, targets, loss))
        found = {name: parameter.grad_sample for name, parameter in self._named()}  # type: ignore[attr-defined]
        self._wrapped.zero_grad()
        return found

    def per_image_norms(self, images: Tensor, targets: Tensor, loss: LossFunction) -> dict[str, Tensor]:
        """``(n_images,)`` gradient norms before clipping, by parameter name: what the clip factors are made of."""
        if not self._ghost:
            gradients = self.per_image_gradients(images, targets, loss)
            return {name: gradient.flatten(1).norm(dim=1) for name, gradient in gradients.items()}
        self._backward(self._forward(images, targets, loss))
        found = {name: parameter._norm_sample for name, parameter in self._named()}  # type: ignore[attr-defined]
        self._wrapped.zero_grad()
        return found

    def _forward(self, images: Tensor, targets: Tensor, loss: LossFunction) -> Tensor:
        return loss(self._wrapped(images), targets)

    def _backward(self, losses: Tensor) -> None:
        with _stem_hook_silenced():
            losses.sum().backward()

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, parameter) for name, parameter in self.model.named_parameters() if parameter.requires_grad)


def wrap(model: nn.Module, method: OpacusMethod) -> OpacusEngine:
    """A copy of ``model`` in train mode inside Opacus; the model itself is left alone.

    Args:
        model: Without stochastic depth, which Opacus' samplers refuse.
        method: The mode, and whether inputs of convolutions are made contiguous.
    """
    copied = copy.deepcopy(model).train()
    if method.fixed:
        make_inputs_contiguous(copied)
    return OpacusEngine(copied, method)


def make_inputs_contiguous(model: nn.Module) -> None:
    """From now on every ``Conv2d`` of ``model`` sees contiguous images: the cure for Opacus' wrong gradients.

    Values do not change, only their order in memory, which ``opacus.utils.tensor_utils.unfold2d`` relies on.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(_contiguous)


def _contiguous(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
    return (inputs[0].contiguous(),)


def clipped_sum(
    model: nn.Module, images: Tensor, targets: Tensor, loss: LossFunction, max_grad_norm: float, method: OpacusMethod
) -> dict[str, Tensor]:
    """The clipped sum of Opacus by parameter name; arguments as for ``OpacusEngine.add_clipped_sum``."""
    engine = wrap(model, method)
    engine.add_clipped_sum(images, targets, loss, max_grad_norm)
    return {name: p.grad for name, p in engine.model.named_parameters() if p.grad is not None}


def per_image_gradients(
    model: nn.Module, images: Tensor, targets: Tensor, loss: LossFunction, method: OpacusMethod
) -> dict[str, Tensor]:
    """The per-image gradients of Opacus by parameter name, before clipping; see ``OpacusEngine``."""
    return wrap(model, method).per_image_gradients(images, targets, loss)


def per_image_norms(
    model: nn.Module, images: Tensor, targets: Tensor, loss: LossFunction, method: OpacusMethod
) -> dict[str, Tensor]:
    """The per-image gradient norms of Opacus by parameter name, before clipping; see ``OpacusEngine``."""
    return wrap(model, method).per_image_norms(images, targets, loss)


@contextmanager
def _stem_hook_silenced() -> Iterator[None]:
    """The first layer's input needs no gradient, of which torch warns on each backward; its rule needs none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing when gradients are computed")
        yield
