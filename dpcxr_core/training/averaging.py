"""An exponential moving average of the weights: less noise in what is released, at no cost in privacy.

The average is a function of the weights that the mechanism has put out already, so it reveals nothing further.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def start_average(model: nn.Module) -> dict[str, Tensor]:
    """The average before the first update: a float32 copy of each trainable parameter, by name."""
    return {
        name: parameter.detach().to(torch.float32, copy=True)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def decay_at(step: int, decay: float) -> float:
    """Decay of the average at update ``step`` (from 0): at most ``decay``, and small while the run is young.

    Without that warm-up the first weights, which nothing was learnt in, would stay in the average for about
    ``1 / (1 - decay)`` updates.

    Source:
        De et al. (2022), arXiv:2204.13650; the warm-up is that of TensorFlow's ExponentialMovingAverage.
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, *, decay: float, step: int) -> None:
    """Each average becomes ``d * average + (1 - d) * weight``, in place, with ``d`` from ``decay_at``."""
    share_of_new = 1 - decay_at(step, decay)
    for name, value in average.items():
        value.lerp_(model.get_parameter(name).to(torch.float32), share_of_new)


@torch.no_grad()
def use_average(average: dict[str, Tensor], model: nn.Module) -> None:
    """The trainable parameters of ``model`` become their averages; buffers and frozen parameters stay."""
    for name, value in average.items():
        model.get_parameter(name).copy_(value)
