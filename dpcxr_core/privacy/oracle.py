"""Per-image gradients the slow and obvious way: one image at a time, in float64, by plain autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

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


def norm_of(gradient: dict[str, Tensor]) -> float:
    """L2 norm over all parameters together, in float64."""
    return float(torch.stack([part.double().square().sum() for part in gradient.values()]).sum().sqrt())


def clipped_sum_of(gradients: list[dict[str, Tensor]], max_grad_norm: float) -> dict[str, Tensor]:
    """Sum of ``gradients``, each scaled to norm at most ``max_grad_norm``, by parameter name."""
    total = {name: torch.zeros_like(part) for name, part in gradients[0].items()}
    for gradient in gradients:
        norm = norm_of(gradient)
        factor = min(1.0, max_grad_norm / norm) if norm > 0 else 1.0
        for name, part in gradient.items():
            total[name] += factor * part
    return total
