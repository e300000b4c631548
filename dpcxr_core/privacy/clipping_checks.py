"""Checks of the clipped sums: right against float64, bounded for crafted units, the same in any physical batches."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import cycle
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.privacy.check_result import CheckResult, at_most, worst_of
from dpcxr_core.privacy.oracle import clipped_sum_of, gradients_of_units, gradients_one_by_one, norm_of

LARGEST_SUM_ERROR = 1e-5  # float32 against float64, relative, over all parameters
LARGEST_PARAMETER_ERROR = 1e-4  # the same for the worst parameter alone
LARGEST_EXCESS = 1e-6  # of one contribution over the clip norm, relative

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
_CLIPPINGS: tuple[Literal["flat", "automatic"], ...] = ("flat", "automatic")
_IN_BRIEF = (
    "as given",
    "times 1e4",
    "not a number",
    "of identical images",
    "of images that cancel by 0.9, 0",
    "with an image that is not a number",
)

Gradients = dict[str, Tensor]
Rows = tuple[Tensor, Tensor]  # images and targets of one unit


class ClippedSum(Protocol):
    """Whatever makes the clipped sum of privacy units, by parameter name."""

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        targets: Tensor,
        max_grad_norm: float,
        *,
        rows_per_unit: Sequence[int] | None = None,
        clipping: Literal["flat", "automatic"] = "flat",
    ) -> Gradients:
        """As ``book_kept_sum``."""


def losses_of(logits: Tensor, targets: Tensor) -> Tensor:
    """``(n_images,)`` losses: binary cross-entropy summed over the outputs."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)


def book_kept_sum(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    max_grad_norm: float,
    *,
    rows_per_unit: Sequence[int] | None = None,
    clipping: Literal["flat", "automatic"] = "flat",
) -> Gradients:
    """The clipped sum of this engine, by parameter name; ``.grad`` is left empty."""
    counts = [1] * len(images) if rows_per_unit is None else list(rows_per_unit)
    return _sum_of_parts(model, [((images, targets), counts)], max_grad_norm, clipping)


def check_clipped_sum(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    memory_formats: Sequence[str] = tuple(MEMORY_FORMATS),
    clipped_sum: ClippedSum = book_kept_sum,
) -> list[CheckResult]:
    """Clipped sums against single images in float64: over all parameters, and for the worst one alone.

    Both for images as units and for patients of one, two and three images; the worse of flat and automatic clipping
    is given. The clip norm is the median of the true norms, so that some units are clipped and some are not.
    """
    rows = gradients_one_by_one(model, images, targets, losses_of)
    laid_out_in = {memory_format: _laid_out(model, images, memory_format) for memory_format in memory_formats}
    results = []
    for unit, rows_per_unit in (("image", [1] * len(rows)), ("patient", patients_among(len(rows)))):
        oracle = gradients_of_units(rows, rows_per_unit)
        max_grad_norm = float(np.median([norm_of(gradient) for gradient in oracle]))
        expected = {clipping: clipped_sum_of(oracle, max_grad_norm, clipping) for clipping in _CLIPPINGS}
        for memory_format, (laid_out, laid_out_images) in laid_out_in.items():
            sums, parameters = {}, {}
            for clipping in _CLIPPINGS:
                found = clipped_sum(
                    laid_out, laid_out_images, targets, max_grad_norm, rows_per_unit=rows_per_unit, clipping=clipping
                )
                sums[f"{clipping} clipping"], worst, error = _errors(found, expected[clipping])
                parameters[f"{worst}, {clipping} clipping"] = error
            in_words = f"{len(oracle)} {unit}s" + (f" of {len(rows)} images" if unit == "patient" else "")
            chosen, worst = worst_of(sums), worst_of(parameters)
            about = f"relative error for {in_words}, one by one in float64; {chosen}"
            name = f"{unit}, {memory_format}"
            results += [
                at_most(f"clipped sum, {name}", sums[chosen], LARGEST_SUM_ERROR, about),
                at_most(
                    f"worst parameter, {name}", parameters[worst], LARGEST_PARAMETER_ERROR, f"relative error of {worst}"
                ),
            ]
    return results


def check_contributions(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    brief: bool = False,
    memory_formats: Sequence[str] = tuple(MEMORY_FORMATS),
    clipped_sum: ClippedSum = book_kept_sum,
) -> list[CheckResult]:
    """By how much the largest contribution of one image, and of one patient, exceeds the clip norm, relatively.

    Ordinary and crafted units are tried, with flat and automatic clipping; below zero all stay within.

    A unit with an image that is not finite must contribute nothing, alone and beside another unit.
    """
    max_grad_norm = 1e-2 * norm_of(gradients_one_by_one(model, images[:1], targets[:1], losses_of)[0])
    laid_out_in = {memory_format: _laid_out(model, images, memory_format) for memory_format in memory_formats}
    results = []
    for unit, n_beside in (("image", 1), ("patient", 2)):
        contributions = {}
        for memory_format, (laid_out, laid_out_images) in laid_out_in.items():
            crafted = _crafted_units(laid_out, laid_out_images, targets)[unit]
            for clipping in _CLIPPINGS:
                # The norm is made before the way of clipping matters, so one way meets every crafted unit.
                in_brief = brief or clipping == "automatic"
                chosen = {name: rows for name, rows in crafted.items() if name in _IN_BRIEF or not in_brief}
                for name, rows in chosen.items():
                    key = f"{unit} {name}; {clipping} clipping, {memory_format}"
                    contributions[key] = _contribution(laid_out, rows, max_grad_norm, clipping, clipped_sum)
                spoilt = next(rows for name, rows in chosen.items() if "not a number" in name)
                key = f"{unit} not a number, beside another; {clipping} clipping, {memory_format}"
                other = (laid_out_images[1 : 1 + n_beside], targets[1 : 1 + n_beside])
                contributions[key] = _moved_by(laid_out, spoilt, other, max_grad_norm, clipping, clipped_sum)
        worst = worst_of(contributions)
        results.append(
            at_most(
                f"contribution of one {unit}",
                contributions[worst] - 1,
                LARGEST_EXCESS,
                f"above the clip norm, relative; {worst}",
            )
        )
    return results


def check_physical_batches(model: nn.Module, images: Tensor, targets: Tensor) -> CheckResult:
    """The sum over physical batches, one of them empty, against the logical batch in one go."""
    max_grad_norm = 0.5 * norm_of(gradients_one_by_one(model, images[:1], targets[:1], losses_of)[0])
    errors = {}
    for unit, counts in (("images", [1] * len(images)), ("patients", patients_among(len(images)))):
        whole = book_kept_sum(model, images, targets, max_grad_norm, rows_per_unit=counts)
        cut = counts[0]
        parts = [
            ((images[:cut], targets[:cut]), counts[:1]),
            ((images[:0], targets[:0]), []),
            ((images[cut:], targets[cut:]), counts[1:]),
        ]
        pieces = _sum_of_parts(model, parts, max_grad_norm, "flat")
        errors[unit] = norm_of({name: pieces[name] - whole[name] for name in whole}) / norm_of(whole)
    worst = worst_of(errors)
    about = f"relative difference to the logical batch, {worst}"
    return at_most("physical batches", errors[worst], LARGEST_SUM_ERROR, about)


def patients_among(n_images: int) -> list[int]:
    """How many of ``n_images`` consecutive images each patient has: one, two, three, one, two, ..."""
    counts: list[int] = []
    for size in cycle((1, 2, 3)):
        if sum(counts) == n_images:
            break
        counts.append(min(size, n_images - sum(counts)))
    return counts


def _laid_out(model: nn.Module, images: Tensor, memory_format: str) -> tuple[nn.Module, Tensor]:
    layout = MEMORY_FORMATS[memory_format]
    return copy.deepcopy(model).to(memory_format=layout), images.contiguous(memory_format=layout)


def _errors(found: Gradients, expected: Gradients) -> tuple[float, str, float]:
    """Relative error over all parameters, and the worst parameter with its own."""
    total = norm_of(expected)
    errors = {name: float((found[name].double() - part).norm()) for name, part in expected.items()}
    # A parameter with next to no gradient is judged on the scale of the others.
    relative = {name: error / max(float(expected[name].norm()), 1e-3 * total) for name, error in errors.items()}
    worst = worst_of(relative)
    return math.sqrt(sum(error**2 for error in errors.values())) / total, worst, relative[worst]


def _contribution(
    model: nn.Module,
    rows: Rows,
    max_grad_norm: float,
    clipping: Literal["flat", "automatic"],
    clipped_sum: ClippedSum,
) -> float:
    """Of one unit alone, in clip norms; infinite where a unit that is not finite contributes at all."""
    images, targets = rows
    found = clipped_sum(model, images, targets, max_grad_norm, rows_per_unit=[len(images)], clipping=clipping)
    contribution = norm_of(found) / max_grad_norm
    return math.inf if not bool(images.isfinite().all()) and contribution != 0 else contribution


def _moved_by(
    model: nn.Module,
    spoilt: Rows,
    other: Rows,
    max_grad_norm: float,
    clipping: Literal["flat", "automatic"],
    clipped_sum: ClippedSum,
) -> float:
    """How far a unit that is not finite moves the sum of another, in clip norms; infinite above rounding."""
    together = (torch.cat([spoilt[0], other[0]]), torch.cat([spoilt[1], other[1]]))
    counts = [len(spoilt[0]), len(other[0])]
    beside = clipped_sum(model, *together, max_grad_norm, rows_per_unit=counts, clipping=clipping)
    alone = clipped_sum(model, *other, max_grad_norm, rows_per_unit=counts[1:], clipping=clipping)
    moved = norm_of({name: beside[name] - alone[name] for name in alone}) / max_grad_norm
    return moved if moved < 1e-4 else math.inf


def _sum_of_parts(
    model: nn.Module,
    parts: Sequence[tuple[Rows, Sequence[int]]],
    max_grad_norm: float,
    clipping: Literal["flat", "automatic"],
) -> Gradients:
    """The clipped sum over ``parts``: images and targets with the rows of each of their units."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in named.values():
        parameter.grad = None
    keeper = attach(model)
    try:
        for (images, targets), counts in parts:
            losses = losses_of(model(images), targets) if len(images) else images.new_zeros(0)
            keeper.add_clipped_sum(losses, max_grad_norm, rows_per_unit=counts, clipping=clipping)
        found = {name: p.grad for name, p in named.items() if p.grad is not None}
    finally:
        keeper.detach()
        for parameter in named.values():
            parameter.grad = None
    return found


def _crafted_units(model: nn.Module, images: Tensor, targets: Tensor) -> dict[str, dict[str, Rows]]:
    return {
        "image": _crafted_images(images[:1], targets[:1]),
        "patient": _crafted_patients(model, images[:3], targets[:3]),
    }


def _crafted_images(image: Tensor, target: Tensor) -> dict[str, Rows]:
    identical_rows = image[:, :, :1].expand_as(image).clone()
    one_pixel = torch.zeros_like(image)
    one_pixel[..., 0, 0] = 1e6
    crafted = {
        "as given": image,
        "times 1e4": image * 1e4,
        "times 1e30": image * 1e30,
        "times 1e-8": image * 1e-8,
        "of zeros": torch.zeros_like(image),
        "of identical rows": identical_rows,
        "of one huge pixel": one_pixel,
        "not a number": torch.full_like(image, math.nan),
        "infinite": torch.full_like(image, math.inf),
    }
    return {name: (each, target) for name, each in crafted.items()}


def _crafted_patients(model: nn.Module, images: Tensor, targets: Tensor) -> dict[str, Rows]:
    """Patients of two or three images, made so that the norm of their sum is hard to get right.

    Where images cancel, as alike ones with unlike labels do, a norm made from products of pairs loses digits.
    """
    image, other = images[:1], images[1:2]
    with torch.no_grad():
        scores = torch.sigmoid(model(images))

    def cancelled(number: int, share: float) -> Rows:
        """One image twice; the second target gives minus ``share`` of the first one's gradient."""
        same, target, score = images[number : number + 1], targets[number : number + 1], scores[number : number + 1]
        return torch.cat([same, same]), torch.cat([target, score + share * (score - target)])

    def of(*chosen: Tensor) -> Rows:
        return torch.cat(chosen), targets[: len(chosen)]

    return {
        "of three images": of(*images.split(1)),
        "of identical images": (torch.cat([image, image, image]), targets[:1].expand(3, -1)),
        **{
            f"of images that cancel by {share:g}, {number}": cancelled(number, share)
            for share in (0.8, 0.9, 0.93, 0.98, 1.0)
            for number in range(3)
        },
        "with an image times 1e4": of(image, other * 1e4),
        "with an image times 1e30": of(image, other * 1e30),
        "with an image times 1e-8": of(image, other * 1e-8),
        "with an image that is not a number": of(image, torch.full_like(image, math.nan), other),
        "with an infinite image": of(torch.full_like(image, math.inf), image),
    }
