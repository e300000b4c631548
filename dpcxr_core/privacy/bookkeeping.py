"""Clipped sums of per-image gradients from one ordinary backward pass.

While a keeper is attached, the layers of a model compute what they always did, but their backward leaves
records behind (``layers``, ``records``) instead of weight gradients. The keeper adds up the per-image norms,
and once all are known forms each weight gradient as one weighted sum: about the cost of ordinary training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from dpcxr_core.config import UserError
from dpcxr_core.privacy.errors import PrivacyEngineError, UnsupportedLayerError
from dpcxr_core.privacy.layers import Forward, PerImageVector, forward_rule
from dpcxr_core.privacy.records import Record

# Norms and sums are float32; this much less than the clip norm keeps a contribution inside it after rounding.
ROUNDING_MARGIN = 2e-6
# A factor below this leaves float32's normal range when it multiplies a gradient: the image counts as not finite.
_SMALLEST_FACTOR = 1e-30


@dataclass(frozen=True)
class ClippingReport:
    """What clipping saw. Private: release neither the norms nor the counts.

    Attributes:
        norms: ``(n_images,)`` float64 gradient norms before clipping; NaN where not finite.
        n_non_finite: Images whose gradient was not finite, and which therefore counted as zero.
    """

    norms: Tensor
    n_non_finite: int


class BookKeeper:
    """Turns per-image losses into sums of per-image gradients, clipped or not. Made by ``attach``."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._patched: list[nn.Module] = []
        self._hooks: list[RemovableHandle] = []
        self._pass: _Pass | None = None

    def receive(self, record: Record) -> None:
        """Take the record of one layer; called by the layers during a backward pass."""
        if self._pass is None:
            raise PrivacyEngineError(
                "a backward pass ran outside the book-keeper: call add_clipped_sum or add_sum, not backward()"
            )
        self._pass.take(record, self._names[id(record.parameter)])

    def add_clipped_sum(self, losses: Tensor, max_grad_norm: float) -> ClippingReport:
        """What clipping saw; the sum of clipped per-image gradients has been added to each ``.grad``.

        Promise:
            One image contributes at most ``max_grad_norm`` in L2 norm over all parameters together, up to
            float32 rounding. An image whose gradient is not finite contributes zeros and leaves the others
            untouched. An empty batch adds zeros. Frozen parameters are skipped.

        Args:
            losses: ``(n_images,)``, one per image, from one forward pass in train mode; loss i must depend on
                image i alone. Neither averaged nor divided by anything.
            max_grad_norm: Clip norm C, in gradient units, positive and finite.

        Raises:
            UserError: ``max_grad_norm`` is not positive and finite, or ``losses`` is not one-dimensional.
            UnsupportedLayerError: A trainable parameter was used twice, not at all, or outside its layer.

        Source:
            Abadi et al. (2016), Algorithm 1, arXiv:1607.00133; one backward: Bu et al. (2022), arXiv:2210.00038.
        """
        if not 0 < max_grad_norm < math.inf:
            raise UserError(f"max_grad_norm must be positive and finite; got {max_grad_norm}")
        done = self._backward(losses, clipping=True)
        if done is None:
            return ClippingReport(norms=losses.new_zeros(0, dtype=torch.float64), n_non_finite=0)
        norms, factors, unusable = _clip_factors(done.squared_norms, max_grad_norm)
        n_non_finite = int(unusable.sum())
        with torch.no_grad():
            while done.records:
                record = done.records.pop()
                # Zero times NaN is NaN: the rows of unusable images must go, a factor of zero is not enough.
                usable = record.without(unusable) if n_non_finite else record
                _add_to_gradient(record.parameter, usable.weighted_sum(factors))
        return ClippingReport(norms=norms, n_non_finite=n_non_finite)

    def add_sum(self, losses: Tensor) -> None:
        """Adds the plain sum of the gradients of ``losses`` ``(n_images,)`` to each ``.grad``: no clipping.

        For training without privacy: the same layers, and so the same numbers up to rounding.

        Raises:
            UserError: ``losses`` is not one-dimensional.
            UnsupportedLayerError: As for ``add_clipped_sum``.
        """
        done = self._backward(losses, clipping=False)
        if done is not None:
            for parameter, total in done.sums:
                _add_to_gradient(parameter, total)

    def detach(self) -> None:
        """Gives the model its own forwards back; ``.grad`` stays."""
        for module in self._patched:
            module.__dict__.pop("forward", None)
        for hook in self._hooks:
            hook.remove()
        self._patched, self._hooks = [], []

    def _backward(self, losses: Tensor, *, clipping: bool) -> _Pass | None:
        """The finished pass, or None for an empty batch; ``.grad`` of every trainable parameter is as before."""
        if losses.dim() != 1:
            raise UserError(f"losses must be one number per image, (n_images,); got {tuple(losses.shape)}")
        trainable = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        if losses.numel() == 0:
            for parameter in trainable:
                _add_to_gradient(parameter, torch.zeros_like(parameter))
            return None
        if not losses.requires_grad:
            raise UserError("losses carry no gradient: run the model in train mode, outside torch.no_grad()")
        before = [parameter.grad for parameter in trainable]
        for parameter in trainable:
            parameter.grad = None
        self._pass = current = _Pass(losses.shape[0], clipping=clipping, device=losses.device)
        try:
            losses.sum().backward()
            self._check_all_recorded(trainable, current)
        finally:
            self._pass = None
            for parameter, gradient in zip(trainable, before, strict=True):
                parameter.grad = gradient
        return current

    def _check_all_recorded(self, trainable: list[nn.Parameter], current: _Pass) -> None:
        for parameter in trainable:
            name = self._names.get(id(parameter), "a parameter added after attach")
            if parameter.grad is not None:
                raise UnsupportedLayerError(
                    f"{name}: gradient arrived outside the layer that owns it, so it cannot be clipped per image; "
                    "is the model in train mode, and is the parameter used only by its own layer?"
                )
            if id(parameter) not in current.seen:
                raise UnsupportedLayerError(
                    f"{name}: trainable, but no gradient was recorded. Freeze it or use it in the forward pass."
                )


class _Pass:
    """What one backward pass has recorded so far."""

    def __init__(self, n_images: int, *, clipping: bool, device: torch.device) -> None:
        self.squared_norms = torch.zeros(n_images, dtype=torch.float64, device=device)
        self.records: list[Record] = []
        self.sums: list[tuple[nn.Parameter, Tensor]] = []
        self.seen: set[int] = set()
        self._n_images, self._clipping = n_images, clipping

    def take(self, record: Record, name: str) -> None:
        if id(record.parameter) in self.seen:
            raise UnsupportedLayerError(
                f"{name}: used more than once in one pass, which no per-image rule covers; "
                "run one forward pass per sum and tie no weights"
            )
        self.seen.add(id(record.parameter))
        if not self._clipping:
            self.sums.append((record.parameter, record.weighted_sum(None)))
            return
        squared, kept = record.settled()
        if squared.shape[0] != self._n_images:
            raise UnsupportedLayerError(
                f"{name}: saw {squared.shape[0]} images where there are {self._n_images} losses; "
                "the first dimension must be the image, from input to loss"
            )
        self.squared_norms += squared
        self.records += kept


def _clip_factors(squared_norms: Tensor, max_grad_norm: float) -> tuple[Tensor, Tensor, Tensor]:
    """Norms (NaN where unusable), clip factors (zero there), and which images are unusable."""
    norms = squared_norms.sqrt()
    factors = (max_grad_norm * (1 - ROUNDING_MARGIN) / norms).clamp_(max=1.0)
    unusable = ~(norms.isfinite() & (factors > _SMALLEST_FACTOR))
    return norms.masked_fill(unusable, math.nan), factors.masked_fill(unusable, 0.0), unusable


@torch.no_grad()
def _add_to_gradient(parameter: nn.Parameter, total: Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter).copy_(total)
    else:
        parameter.grad.add_(total)


def attach(model: nn.Module) -> BookKeeper:
    """A book-keeper for ``model``, whose layers now record per-image gradients while in train mode.

    Parameters, their names, the state dict and every value computed stay as they are; in evaluation mode and
    without gradients the layers run their own forward.

    Args:
        model: Trainable parameters may belong to Linear, Conv2d (one group or depthwise), LayerNorm in
            either layout, and timm's ConvNeXt layer scale and GlobalResponseNorm. Frozen layers may be any.

    Raises:
        UnsupportedLayerError: A trainable layer has no rule, images are mixed by batch normalisation, or a
            parameter is owned twice. Nothing has been changed then.
        PrivacyEngineError: A keeper is attached already.
    """
    owners: dict[int, str] = {}
    forwards: list[tuple[nn.Module, Forward]] = []
    vectors: list[tuple[nn.Module, list[str]]] = []
    for path, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            raise UnsupportedLayerError(
                f"{path}: {type(module).__name__} mixes the images of a batch, so no gradient belongs to one image; "
                "use LayerNorm or GroupNorm"
            )
        own = {name: p for name, p in module.named_parameters(recurse=False) if p.requires_grad}
        for name, parameter in own.items():
            full_name = f"{path}.{name}".lstrip(".")
            if id(parameter) in owners:
                raise UnsupportedLayerError(f"{full_name}: is the same parameter as {owners[id(parameter)]}")
            owners[id(parameter)] = full_name
        if own:
            forward = forward_rule(path or "the model itself", module)
            if forward is None:
                vectors.append((module, list(own)))
            elif "forward" in module.__dict__:
                raise PrivacyEngineError(f"{path}: forward is replaced already; detach the other keeper first")
            else:
                forwards.append((module, forward))
    keeper = BookKeeper(model)
    for module, forward in forwards:
        object.__setattr__(module, "forward", partial(_recording_forward, module, keeper, forward))
        keeper._patched.append(module)
    for module, names in vectors:
        shadow = partial(_shadow_vectors, keeper, names)
        keeper._hooks.append(module.register_forward_pre_hook(shadow))
        keeper._hooks.append(module.register_forward_hook(partial(_unshadow, names), always_call=True))
    return keeper


def _is_recording(module: nn.Module) -> bool:
    return module.training and torch.is_grad_enabled()


def _recording_forward(module: nn.Module, keeper: BookKeeper, forward: Forward, x: Tensor) -> Tensor:
    if _is_recording(module):
        return forward(module, keeper, x)
    return type(module).forward(module, x)


def _shadow_vectors(keeper: BookKeeper, names: list[str], module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """An instance attribute hides the parameter of the same name for this one forward pass."""
    if _is_recording(module):
        n_images = inputs[0].shape[0]
        for name in names:
            module.__dict__[name] = PerImageVector(module.get_parameter(name), n_images, keeper)


def _unshadow(names: list[str], module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    for name in names:
        module.__dict__.pop(name, None)
