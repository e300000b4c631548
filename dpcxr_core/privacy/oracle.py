"""Clipped sums the slow and obvious way: one image at a time, in float64, by plain autograd."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from dpcxr_core.config import Clipping
from dpcxr_core.privacy.bookkeeping import AUTOMATIC_STABILITY

LossFunction = Callable[[Tensor, Tensor], Tensor]


def gradients_one_by_one(
    model: nn.Module, images: Tensor, targets: Tensor, loss_function: LossFunction
) -> list[dict[str, Tensor]]:
    """The float64 gradient of each image, by parameter name; ``model`` is left alone.

    Args:
        model: Any module with no book-keeper attached; used in the mode it is in.
        images: ``(n_images, ...)``.
        targets: ``(n_images, ...)``.
        loss_function: Takes logits and targets of n images and returns ``(n,)`` losses.
    """
    double = copy.deepcopy(model).double()
    named = {name: parameter for name, parameter in double.named_parameters() if parameter.requires_grad}
    found = []
    for image, target in zip(images.double(), targets.double(), strict=True):
        loss = loss_function(double(image[None]), target[None]).sum()
        found.append(dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True)))
    return found


def gradients_of_units(gradients: Sequence[dict[str, Tensor]], rows_per_unit: Sequence[int]) -> list[dict[str, Tensor]]:
    """The gradient of each privacy unit: the sum of those of its rows, which lie next to each other.

    Args:
        gradients: ``(n_rows,)``, of one row each.
        rows_per_unit: ``(n_units,)`` counts that add up to ``n_rows``.
    """
    found, first = [], 0
    for n_rows in rows_per_unit:
        rows = gradients[first : first + n_rows]
        found.append({name: reduce(torch.add, [row[name] for row in rows]) for name in rows[0]})
        first += n_rows
    return found


def norm_of(gradient: dict[str, Tensor]) -> float:
    """L2 norm over all parameters together, in float64."""
    flat = [part.double().flatten() for part in gradient.values()]
    return float(torch.stack([part @ part for part in flat]).sum().sqrt())


def clip_factor(norm: float, max_grad_norm: float, clipping: Clipping = "flat") -> float:
    """What a gradient of ``norm`` is multiplied by: min(1, C / norm), C / (norm + 0.01), or 1; 0 if not finite.

    Source:
        Flat: Abadi et al. (2016), Algorithm 1, arXiv:1607.00133. Automatic: AUTO-S of Bu et al. (2022),
        arXiv:2206.07136.
    """
    if not math.isfinite(norm):
        return 0.0
    if clipping == "none":
        return 1.0
    if clipping == "automatic":
        return max_grad_norm / (norm + AUTOMATIC_STABILITY)
    return min(1.0, max_grad_norm / norm) if norm > 0 else 1.0


def clipped_sum_of(
    gradients: Sequence[dict[str, Tensor]], max_grad_norm: float, clipping: Clipping = "flat"
) -> dict[str, Tensor]:
    """Sum of ``gradients``, one a unit, each brought to norm at most ``max_grad_norm``, by parameter name.

    A gradient that is not finite counts as zero.
    """
    total = {name: torch.zeros_like(part) for name, part in gradients[0].items()}
    for gradient in gradients:
        factor = clip_factor(norm_of(gradient), max_grad_norm, clipping)
        if factor > 0:  # zero times NaN is NaN
            for name, part in gradient.items():
                total[name] += factor * part
    return total
