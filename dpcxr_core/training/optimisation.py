"""What is optimised and how: the loss of an image, the optimizer, and its learning rate at each step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dpcxr_core.config import OptimisationChoice


def loss_per_image(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy over the findings, one value an image.

    An unknown label adds nothing. The divisor is the number of findings, never the number of known
    labels of a batch, so that one image's loss depends on that image alone.

    Args:
        logits: ``(n, 5)`` float.
        labels: ``(n, 5)`` float: 1, 0 or NaN.

    Returns:
        ``(n,)`` float.
    """
    known = ~torch.isnan(labels)
    losses = nn.functional.binary_cross_entropy_with_logits(logits, torch.where(known, labels, 0.0), reduction="none")
    return (losses * known).sum(1) / labels.shape[1]


def make_optimizer(model: nn.Module, choice: OptimisationChoice) -> torch.optim.Optimizer:
    """AdamW or SGD with momentum over the trainable parameters of ``model``."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if choice.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters,
            lr=choice.learning_rate,
            betas=(0.9, choice.beta2),
            weight_decay=choice.weight_decay,
            fused=True,  # one kernel for all parameters: one for each took a tenth of a step of a small network
        )
    return torch.optim.SGD(
        parameters, lr=choice.learning_rate, momentum=choice.momentum, weight_decay=choice.weight_decay
    )


def learning_rate_at(step: int, n_steps: int, choice: OptimisationChoice) -> float:
    """Learning rate of update ``step`` (from 0): linear warm-up, then cosine to zero or constant."""
    warmup = int(choice.warmup_fraction * n_steps)
    if step < warmup:
        return choice.learning_rate * (step + 1) / (warmup + 1)
    if choice.schedule == "constant":
        return choice.learning_rate
    progress = (step - warmup) / max(1, n_steps - warmup)
    return choice.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
