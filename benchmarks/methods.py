"""Every way of taking a training step that is compared, from the same model to its update by AdamW."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, cycle, takewhile
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.other_engines.opacus_engine import METHODS as OPACUS_METHODS
from dpcxr_core.other_engines.opacus_engine import OpacusMethod, wrap
from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.privacy.clipping_checks import losses_of
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.oracle import clipped_sum_of, gradients_of_units, gradients_one_by_one, norm_of
from dpcxr_core.privacy.streams import seeded_streams
from dpcxr_core.publishing.chapters import speed_tables
from dpcxr_core.training.device import Compute, prepare_model
from dpcxr_core.training.fast_depthwise import fast_depthwise
from dpcxr_core.training.steps import shares_of

Kind = Literal["ordinary", "ours", "Opacus"]
Unit = Literal["image", "patient"]
# Adds the sum of (clipped) gradients of images and labels to each ``.grad``, given the clip norm.
AddGradients = Callable[[Tensor, Tensor, float], None]
Prepare = Callable[[nn.Module, Compute], tuple[nn.Module, AddGradients]]

MAX_GRAD_NORM = 0.5
N_ORACLE_IMAGES = 3


@dataclass(frozen=True)
class Method:
    """One way of taking a step.

    Attributes:
        name: As in tables.
        kind: Who clips: nobody, this project or Opacus.
        noisy: Whether noise of this project's generator is added, and its cost counted.
        prepare: A model of its own, and the network to train with what adds gradients to it.
        unit: Whose gradients are clipped.
    """

    name: str
    kind: Kind
    noisy: bool
    prepare: Prepare
    unit: Unit = "image"


def _ordinary(
    model: nn.Module, compute: Compute, *, fast: bool = False, channels_last: bool = False
) -> tuple[nn.Module, AddGradients]:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.to(memory_format=layout)  # type: ignore[call-overload]

    def plain(images: Tensor, labels: Tensor, max_grad_norm: float) -> None:
        losses_of(model(images.contiguous(memory_format=layout)), labels).sum().backward()

    def faster(images: Tensor, labels: Tensor, max_grad_norm: float) -> None:
        with fast_depthwise(model):
            plain(images, labels, max_grad_norm)

    return model, faster if fast else plain


def _ours(model: nn.Module, compute: Compute, *, unit: Unit) -> tuple[nn.Module, AddGradients]:
    prepare_model(model, compute)
    keeper = attach(model)

    def add(images: Tensor, labels: Tensor, max_grad_norm: float) -> None:
        images = images.contiguous(memory_format=torch.channels_last) if compute.on_gpu else images
        losses = losses_of(model(images), labels)
        if unit == "image":
            keeper.add_clipped_sum(losses, max_grad_norm)
        else:
            rows = rows_per_unit(unit, len(images))
            shares = torch.from_numpy(shares_of(rows)).to(losses)
            keeper.add_clipped_sum(losses * shares, max_grad_norm, rows_per_unit=rows.tolist())

    return model, add


def _opacus(model: nn.Module, compute: Compute, *, method: OpacusMethod) -> tuple[nn.Module, AddGradients]:
    engine = wrap(model, method)

    def add(images: Tensor, labels: Tensor, max_grad_norm: float) -> None:
        engine.add_clipped_sum(images, labels, losses_of, max_grad_norm)

    return engine.model, add


def _clipped_by_us(name: str, *, noisy: bool, unit: Unit = "image") -> Method:
    return Method(name, "ours", noisy, partial(_ours, unit=unit), unit)


# names that tables look for are theirs
STOCK = Method(speed_tables.STOCK, "ordinary", False, _ordinary)
FAST_DEPTHWISE = Method("ordinary, fast depthwise", "ordinary", False, partial(_ordinary, fast=True))
OURS = _clipped_by_us(speed_tables.OURS, noisy=True)
METHODS = (
    STOCK,
    Method("ordinary, channels_last", "ordinary", False, partial(_ordinary, channels_last=True)),
    FAST_DEPTHWISE,
    _clipped_by_us("ours, noise off", noisy=False),
    OURS,
    _clipped_by_us(speed_tables.OURS_PATIENTS, noisy=True, unit="patient"),
    *(Method(f"{each.name}, with noise", "Opacus", True, partial(_opacus, method=each)) for each in OPACUS_METHODS),
)


def rows_per_unit(unit: Unit, n_images: int) -> np.ndarray:
    """``(n_units,)``: how many of ``n_images`` images in a row each has: one, or as patients of 1 to 4, ascending."""
    if unit == "image":
        return np.ones(n_images, np.int64)
    ends = list(takewhile(lambda end: end < n_images, accumulate(cycle((1, 2, 3, 4)))))
    return np.sort(np.diff([0, *ends, n_images]))


def make_step(method: Method, model: nn.Module, compute: Compute, n_images: int) -> Callable[[Sequence], None]:
    """A step over physical batches, each ``(images, labels)``, of ``n_images`` together; it owns ``model``.

    Gradients, for private methods noise and the public denominator, and the update by AdamW.
    """
    trained, add_gradients = method.prepare(model, compute)
    parameters = list(trained.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    specification = PrivacySpecification(
        sample_rate=0.1,
        n_steps=1,
        expected_batch_size=n_images,
        max_grad_norm=MAX_GRAD_NORM,
        noise_multiplier=1.0,
        delta=1e-5,
    )
    streams = seeded_streams(0)

    def step(batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        for images, labels in batches:
            add_gradients(images, labels, MAX_GRAD_NORM)
        if method.noisy:
            privatise(parameters, specification, streams, 0)
        else:
            torch._foreach_div_([each.grad for each in parameters if each.grad is not None], n_images)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # at the end: a dozen networks wait for their turn beside this one

    return step


def relative_error(method: Method, model: nn.Module, images: Tensor, labels: Tensor, compute: Compute) -> float:
    """Of the sum of gradients before noise, against single images in float64 on the CPU.

    All units are clipped, by half of the least true norm; ordinary methods are compared to the unclipped sum.
    """
    rows = gradients_one_by_one(model.cpu(), images.cpu(), labels.cpu(), losses_of)
    counts = rows_per_unit(method.unit, len(rows))
    shared = [
        {name: share * part for name, part in row.items()}
        for share, row in zip(shares_of(counts).tolist(), rows, strict=True)
    ]
    units = gradients_of_units(shared, counts.tolist())
    norms = [norm_of(unit) for unit in units]
    max_grad_norm = min(norms) / 2
    expected = clipped_sum_of(units, max(norms) if method.kind == "ordinary" else max_grad_norm)
    trained, add_gradients = method.prepare(copy.deepcopy(model).to(compute.device), compute)
    add_gradients(images.to(compute.device), labels.to(compute.device), max_grad_norm)
    differences = {
        name: parameter.grad.cpu().double() - expected[name]
        for name, parameter in trained.named_parameters()
        if parameter.grad is not None
    }
    return norm_of({**expected, **differences}) / norm_of(expected)
