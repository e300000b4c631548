"""How far one image can move the sum of a step: with clipping at most the clip norm, without it any distance."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from dpcxr_core.config import Clipping
from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.privacy.oracle import LossFunction

_AT_ONCE = 64
_CLIMBING_RATE = 0.1  # of Adam, in units of the network's input


def gradient_norms(model: nn.Module, images: Tensor, targets: Tensor, loss_function: LossFunction) -> Tensor:
    """``(n_images,)`` float64 norms of the gradients of single images, before any clipping; NaN where not finite.

    Args:
        model: With no book-keeper attached; ``.grad`` is left empty.
        images: ``(n_images, ...)`` input of the model.
        targets: ``(n_images, ...)``.
        loss_function: Takes logits and targets of n images and returns ``(n,)`` losses.
    """
    found = []
    for start in range(0, len(images), _AT_ONCE):
        here = slice(start, start + _AT_ONCE)
        norms, _ = _sum_with(model, images[here], targets[here], loss_function, 1.0, "none")
        found.append(norms)
    return torch.cat(found)


def contributions(
    model: nn.Module,
    images: Mapping[str, Tensor],
    target: Tensor,
    loss_function: LossFunction,
    max_grad_norm: float,
) -> pd.DataFrame:
    """What each image alone adds to the sum of a step, in clip norms: without clipping, and with flat clipping.

    Args:
        model: As for ``gradient_norms``.
        images: ``(1, ...)`` each, by name.
        target: ``(1, ...)``, of all of them.
        loss_function: As for ``gradient_norms``.
        max_grad_norm: Clip norm, in gradient units.

    Returns:
        ``image without_clipping with_clipping``: L2 norms over the clip norm.
    """

    def length(image: Tensor, clipping: Clipping) -> float:
        return _sum_with(model, image, target, loss_function, max_grad_norm, clipping)[1] / max_grad_norm

    rows = [
        {"image": name, "without_clipping": length(image, "none"), "with_clipping": length(image, "flat")}
        for name, image in images.items()
    ]
    return pd.DataFrame(rows, columns=["image", "without_clipping", "with_clipping"])


def climb(model: nn.Module, image: Tensor, target: Tensor, loss_function: LossFunction, *, n_steps: int) -> Tensor:
    """The image of the longest gradient met on the way up from ``image``, by gradient ascent on its values.

    Args:
        model: As for ``gradient_norms``; without randomness in its layers.
        image: ``(1, ...)`` to start from.
        target: ``(1, ...)``.
        loss_function: As for ``gradient_norms``.
        n_steps: Steps of Adam on the values of the image.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    values = image.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([values], lr=_CLIMBING_RATE)
    best, longest = image, 0.0
    for _ in range(n_steps):
        loss = loss_function(model(values), target).sum()
        gradients = torch.autograd.grad(loss, trainable, create_graph=True)
        log_norm = 0.5 * torch.stack([gradient.square().sum() for gradient in gradients]).sum().log()
        if (found := float(log_norm.detach().exp())) > longest:
            best, longest = values.detach().clone(), found
        (values.grad,) = torch.autograd.grad(-log_norm, [values])
        optimizer.step()
    return best


def _sum_with(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    loss_function: LossFunction,
    max_grad_norm: float,
    clipping: Clipping,
) -> tuple[Tensor, float]:
    """Norms of the images, and the length of their sum under ``clipping``."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    was_training = model.training
    keeper = attach(model)
    try:
        model.train()
        report = keeper.add_clipped_sum(loss_function(model(images), targets), max_grad_norm, clipping=clipping)
        squares = [parameter.grad.double().square().sum() for parameter in trainable if parameter.grad is not None]
        return report.norms.cpu(), float(torch.stack(squares).sum().sqrt())
    finally:
        keeper.detach()
        model.train(was_training)
        for parameter in trainable:
            parameter.grad = None
