"""Fresh networks made fit for checks of gradients: what is constant in them becomes random."""

from __future__ import annotations

import copy

import torch
from timm.layers import DropPath
from torch import nn


@torch.no_grad()
def awakened(model: nn.Module, *, seed: int) -> nn.Module:
    """A copy in train mode without dropout or stochastic depth, its constant parameters random.

    Fresh networks hold layer scales near zero and zeroed heads, and nothing can be learnt about layers that no
    gradient reaches.

    Args:
        model: Any, with no book-keeper attached; it is left alone.
        seed: Seeds the random values; the global random state is left as it was.
    """
    copied = copy.deepcopy(model).train()
    for module in copied.modules():
        if isinstance(module, nn.Dropout | DropPath):
            module.eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in copied.named_parameters():
        if bool((parameter == parameter.flatten()[0]).all()):
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.device)
            if name.endswith(("gamma", "layer_scale")):
                parameter.copy_(0.5 * (1 + 0.3 * noise))
            else:
                parameter.add_(noise, alpha=0.3 if parameter.dim() == 1 else 0.05)
    return copied
