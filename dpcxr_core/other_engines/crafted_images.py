"""Images made to break the bound of Opacus' ghost mode: large where its norms do not look.

The norm of a convolution's gradient comes from a view of the input that is right for contiguous images only
(``opacus.utils.tensor_utils.unfold2d``). Laid out channels last, the view reaches the first rows of an image and
no others, so an image can be large where it is not seen, and then its gradient is not clipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from opacus.utils.tensor_utils import unfold2d
from torch import Tensor, nn

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.other_engines.gradient_faults import ClippedSum, largest_contribution, probe
from dpcxr_core.privacy.clipping_checks import losses_of

_CHANNELS, _SIZE = 3, 32  # of the unseen image
_LEARNING_RATE = 0.05  # of Adam on the pixels


def lone_convolution(channels: int, *, seed: int) -> nn.Module:
    """The smallest network with the fault: one patchify convolution without bias, and the mean over positions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        convolution = nn.Conv2d(channels, len(FINDINGS), kernel_size=2, stride=2, bias=False)
    return nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()


def unseen_image(channels: int, size: int, brightness: float) -> Tensor:
    """``(1, channels, size, size)`` in channels last, black where ``unfold2d`` looks and ``brightness`` elsewhere.

    Laid out channels last, the image has ``channels * size * size`` numbers, of which the view that
    assumes the other layout reaches the first ``size * size + channels - 1``.

    Raises:
        UserError: There is one channel, and so only one layout.
    """
    if channels < 2:
        raise UserError(f"an image of {channels} channel has one layout, which unfold2d reads whole; take 2 or more")
    image = torch.zeros(1, channels, size, size).contiguous(memory_format=torch.channels_last)
    reached = -(-(size * size + channels - 1) // channels)  # pixels, row by row
    rows = -(-reached // size)
    image[:, :, rows:] = brightness
    return image


def contributions_of_unseen(brightnesses: Iterable[float], engines: dict[str, ClippedSum]) -> pd.DataFrame:
    """What ``unseen_image`` contributes through ``lone_convolution`` at clip norm 1.

    Returns:
        ``brightness``; ``true_norm``, of the gradient before clipping; and one column an engine, the norm of the
        clipped sum. The bound says: at most 1.
    """
    model = lone_convolution(_CHANNELS, seed=0)
    targets = (torch.arange(len(FINDINGS)) % 2 == 0).float()[None]
    rows = []
    for brightness in brightnesses:
        probed = probe(model, unseen_image(_CHANNELS, _SIZE, brightness), targets)
        found = {name: largest_contribution(probed, engine, 1.0) for name, engine in engines.items()}
        rows.append({"brightness": brightness, "true_norm": probed.norms[0], **found})
    return pd.DataFrame(rows)


def climb(
    model: nn.Module,
    image: Tensor,
    target: Tensor,
    convolutions: Sequence[nn.Conv2d],
    *,
    n_steps: int,
) -> tuple[Tensor, float]:
    """The image whose true gradient norm is the largest multiple of the norm that ghost mode sees, by gradient ascent.

    Args:
        model: In train mode, without randomness.
        image: ``(1, channels, height, width)`` to start from.
        target: ``(1, n_outputs)``.
        convolutions: The layers of ``model`` whose input is not contiguous, each of one group.
        n_steps: Steps of Adam on the pixels.

    Returns:
        The best image met, and its multiple: what it contributes, in clip norms, wherever it is clipped.
    """
    pixels = image.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([pixels], lr=_LEARNING_RATE)
    best, largest = image, 0.0
    for _ in range(n_steps):
        log_ratio = _log_true_over_seen(model, pixels, target, convolutions)
        if (found := float(log_ratio.detach().exp())) > largest:
            best, largest = pixels.detach().clone(), found
        (pixels.grad,) = torch.autograd.grad(-log_ratio, [pixels])
        optimizer.step()
    return best, largest


def _log_true_over_seen(model: nn.Module, image: Tensor, target: Tensor, convolutions: Sequence[nn.Conv2d]) -> Tensor:
    """Log of the true gradient norm over that of ghost mode, differentiable in ``image``."""
    seen: list[tuple[nn.Conv2d, Tensor, Tensor]] = []
    hooks = [
        each.register_forward_hook(lambda layer, inputs, output: seen.append((layer, inputs[0], output)))
        for each in convolutions
    ]
    total = losses_of(model(image), target).sum()
    for hook in hooks:
        hook.remove()
    parameters = list(model.parameters())
    outputs = [output for _, _, output in seen]
    gradients = torch.autograd.grad(total, [*parameters, *outputs], create_graph=True)
    of_weight = {id(each): gradient.square().sum() for each, gradient in zip(parameters, gradients, strict=False)}
    true = torch.stack(list(of_weight.values())).sum()
    ghost = true
    for (layer, x, _), backprop in zip(seen, gradients[len(parameters) :], strict=True):
        ghost = ghost - of_weight[id(layer.weight)] + _norm_by_unfold2d(layer, x, backprop).square()
    return 0.5 * (true.log() - ghost.log())


def _norm_by_unfold2d(layer: nn.Conv2d, x: Tensor, backprop: Tensor) -> Tensor:
    """As ``opacus.grad_sample.conv``: the norm of the weight's gradient of one image."""
    patches = unfold2d(
        x, kernel_size=layer.kernel_size, padding=layer.padding, stride=layer.stride, dilation=layer.dilation
    )
    return (backprop.flatten(2) @ patches.mT).norm()
