"""Clipped sums of the gradients of privacy units from one ordinary backward pass.

While a keeper is attached, the layers of a model compute what they always did, but their backward leaves
records behind (``layers``, ``copies``, ``records``) instead of weight gradients. The keeper adds up the norm of
every unit, an image or all rows of a patient, and once all are known forms each weight gradient as one weighted
sum: about the cost of ordinary training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from dpcxr_core.config import Clipping, UserError
from dpcxr_core.privacy.copies import Copy, copies_of
from dpcxr_core.privacy.errors import PrivacyEngineError, UnsupportedLayerError
from dpcxr_core.privacy.layers import Forward, forward_rule
from dpcxr_core.privacy.records import InstantiatedGradients, Layout, OuterProducts, Record, joined, layout_of

# Norms and sums are float32; this much less than the clip norm keeps a contribution inside it after rounding.
ROUNDING_MARGIN = 2e-6
# A factor below this leaves float32's normal range when it multiplies a gradient: the unit counts as not finite.
_SMALLEST_FACTOR = 1e-30
# Automatic clipping multiplies by C / (norm + this), in gradient units: the authors' value.
AUTOMATIC_STABILITY = 0.01
# Records of at most so many entries an image are settled together: biases, norms, scales.
_LARGEST_SMALL = 2048


@dataclass(frozen=True)
class ClippingReport:
    """What clipping saw. Private: release neither the norms nor the counts.

    Attributes:
        norms: ``(n_units,)`` float64 gradient norms before clipping; NaN where not finite.
        n_non_finite: Units whose gradient was not finite, and which therefore counted as zero.
    """

    norms: Tensor
    n_non_finite: int


class BookKeeper:
    """Turns per-image losses into clipped sums of the gradients of privacy units. Made by ``attach``."""

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
                "a backward pass ran outside the book-keeper: call add_clipped_sum, not backward()"
            )
        self._pass.take(record, self._names)

    def add_clipped_sum(
        self,
        losses: Tensor,
        max_grad_norm: float,
        *,
        rows_per_unit: Sequence[int] | None = None,
        clipping: Clipping = "flat",
    ) -> ClippingReport:
        """What clipping saw; the sum of the units' clipped gradients has been added to each ``.grad``.

        Promise:
            One unit contributes at most ``max_grad_norm`` in L2 norm over all parameters together, up to
            float32 rounding. A unit with a gradient that is not finite contributes zeros and leaves the others
            untouched. An empty batch adds zeros. Frozen parameters are skipped.

        Args:
            losses: ``(n_rows,)``, one per image or augmented copy, from one forward pass in train mode; loss i must
                depend on row i alone.
            max_grad_norm: Clip norm C, in gradient units, positive and finite.
            rows_per_unit: ``(n_units,)`` counts of at least 1: the first unit has the first so many rows, and so on.
                The gradient of a unit is that of the *sum* of its losses, so for a mean divide the losses first.
                None makes each row a unit. Units of equal size next to each other are processed together.
            clipping: "flat" multiplies by min(1, C / norm), "automatic" by C / (norm + 0.01), "none" by one: then
                nothing is bounded.

        Raises:
            UserError: ``max_grad_norm`` is not positive and finite, ``losses`` is not one-dimensional, or
                ``rows_per_unit`` does not divide it.
            UnsupportedLayerError: A trainable parameter was used twice, not at all, or outside its layer.

        Source:
            Abadi et al. (2016), Algorithm 1, arXiv:1607.00133; one backward: Bu et al. (2022), arXiv:2210.00038;
            automatic clipping: Bu et al. (2022), Eq. 2 (AUTO-S), arXiv:2206.07136.
        """
        if not 0 < max_grad_norm < math.inf:
            raise UserError(f"max_grad_norm must be positive and finite; got {max_grad_norm}")
        layout = _checked_layout(losses, rows_per_unit)
        if layout.n_rows == 0:
            for parameter in self._trainable():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            return ClippingReport(norms=losses.new_zeros(0, dtype=torch.float64), n_non_finite=0)
        done = self._backward(losses, layout)
        norms, factors, unusable = _clip_factors(done.squared_norms, max_grad_norm, clipping)
        n_non_finite = int(unusable.sum())
        with torch.no_grad():
            while done.records:
                record = done.records.pop()
                # Zero times NaN is NaN: the rows of unusable units must go, a factor of zero is not enough.
                usable = record.without(unusable) if n_non_finite else record
                usable.add_weighted_sum(factors)
        return ClippingReport(norms=norms, n_non_finite=n_non_finite)

    def detach(self) -> None:
        """Gives the model its own forwards back; ``.grad`` stays."""
        for module in self._patched:
            module.__dict__.pop("forward", None)
        for hook in self._hooks:
            hook.remove()
        self._patched, self._hooks = [], []

    def _trainable(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._model.parameters() if parameter.requires_grad]

    def _backward(self, losses: Tensor, layout: Layout) -> _Pass:
        """The finished pass; ``.grad`` of every trainable parameter is as before."""
        if not losses.requires_grad:
            raise UserError("losses carry no gradient: run the model in train mode, outside torch.no_grad()")
        trainable = self._trainable()
        before = [parameter.grad for parameter in trainable]
        for parameter in trainable:
            parameter.grad = None
        self._pass = current = _Pass(layout, losses.device)
        try:
            losses.sum().backward()
            self._check_all_recorded(trainable, current)
            current.finish()
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

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self.squared_norms = torch.zeros(layout.n_units, dtype=torch.float64, device=device)
        self.records: list[Record] = []
        self.seen: set[int] = set()
        self._layout = layout
        self._small: list[InstantiatedGradients] = []

    def take(self, record: Record, names: dict[int, str]) -> None:
        parameters = [record.parameter] if isinstance(record, OuterProducts) else record.parameters
        for parameter in parameters:
            name = names[id(parameter)]
            if id(parameter) in self.seen:
                raise UnsupportedLayerError(
                    f"{name}: used more than once in one pass, which no per-image rule covers; "
                    "run one forward pass per sum and tie no weights"
                )
            self.seen.add(id(parameter))
            if record.n_rows != self._layout.n_rows:
                raise UnsupportedLayerError(
                    f"{name}: saw {record.n_rows} images where there are {self._layout.n_rows} losses; "
                    "the first dimension must be the image, from input to loss"
                )
        if isinstance(record, InstantiatedGradients) and record.rows.shape[1] <= _LARGEST_SMALL:
            self._small.append(record)
        else:
            self._settle(record)

    def finish(self) -> None:
        """Settle the small records, all at once."""
        if self._small:
            self._settle(joined(self._small))
            self._small = []

    def _settle(self, record: Record) -> None:
        squared, kept = record.settled(self._layout)
        self.squared_norms += squared
        self.records += kept


def _checked_layout(losses: Tensor, rows_per_unit: Sequence[int] | None) -> Layout:
    if losses.dim() != 1:
        raise UserError(f"losses must be one number per image, (n_images,); got {tuple(losses.shape)}")
    counts = [1] * len(losses) if rows_per_unit is None else [int(count) for count in rows_per_unit]
    if sum(counts) != len(losses) or min(counts, default=1) < 1:
        raise UserError(
            f"rows_per_unit must be counts of at least 1 that add up to the {len(losses)} losses; "
            f"they add up to {sum(counts)} and the least is {min(counts, default=0)}"
        )
    return layout_of(counts, losses.device)


def _clip_factors(squared_norms: Tensor, max_grad_norm: float, clipping: Clipping) -> tuple[Tensor, Tensor, Tensor]:
    """Norms (NaN where unusable), clip factors (zero there), and which units are unusable."""
    norms = squared_norms.sqrt()
    most = max_grad_norm * (1 - ROUNDING_MARGIN)
    if clipping == "none":
        factors = torch.ones_like(norms)
    else:
        factors = (most / norms).clamp_(max=1.0) if clipping == "flat" else most / (norms + AUTOMATIC_STABILITY)
    unusable = ~(norms.isfinite() & (factors > _SMALLEST_FACTOR))
    return norms.masked_fill(unusable, math.nan), factors.masked_fill(unusable, 0.0), unusable


def attach(model: nn.Module) -> BookKeeper:
    """A book-keeper for ``model``, whose layers now record per-image gradients while in train mode.

    Parameters, their names, the state dict and every value computed stay as they are; in evaluation mode and
    without gradients the layers run their own forward.

    Args:
        model: Trainable parameters may belong to Linear, Conv2d (one group or depthwise), LayerNorm in
            either layout, timm's layer scale and GlobalResponseNorm, and the tokens and position embedding of
            timm's ViTs (``layers``, ``copies``). Frozen layers may be any.

    Raises:
        UnsupportedLayerError: A trainable layer has no rule, images are mixed by batch normalisation, or a
            parameter is owned twice. Nothing has been changed then.
        PrivacyEngineError: A keeper is attached already.
    """
    owners: dict[int, str] = {}
    forwards: list[tuple[nn.Module, Forward]] = []
    copied: list[tuple[nn.Module, dict[str, Copy]]] = []
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
        if own and (copies := copies_of(path or "the model itself", module)):
            copied.append((module, copies))
        elif own:
            if "forward" in module.__dict__:
                raise PrivacyEngineError(f"{path}: forward is replaced already; detach the other keeper first")
            forwards.append((module, forward_rule(path or "the model itself", module)))
    keeper = BookKeeper(model)
    for module, forward in forwards:
        object.__setattr__(module, "forward", partial(_recording_forward, module, keeper, forward))
        keeper._patched.append(module)
    for module, copies in copied:
        keeper._hooks.append(module.register_forward_pre_hook(partial(_shadow, keeper, copies)))
        keeper._hooks.append(module.register_forward_hook(partial(_unshadow, list(copies)), always_call=True))
    return keeper


def _is_recording(module: nn.Module) -> bool:
    return module.training and torch.is_grad_enabled()


def _recording_forward(module: nn.Module, keeper: BookKeeper, forward: Forward, x: Tensor) -> Tensor:
    if _is_recording(module):
        return forward(module, keeper, x)
    return type(module).forward(module, x)


def _shadow(keeper: BookKeeper, copies: dict[str, Copy], module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """An instance attribute hides the parameter of the same name for this one forward pass."""
    if _is_recording(module):
        n_images = inputs[0].shape[0]
        for name, copy in copies.items():
            module.__dict__[name] = copy(module.get_parameter(name), n_images, keeper)


def _unshadow(names: list[str], module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    for name in names:
        module.__dict__.pop(name, None)
