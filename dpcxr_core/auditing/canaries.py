"""Canaries: made-up images that each move one parameter of their own, put through the real training.

A canary is recognised by its pixels inside the network and reaches nothing but its own entry of one extra linear
layer, with a gradient far above the clip norm. So the engine clips it to the clip norm exactly, its whole influence
lies in one entry, and an attacker who watches that entry is as strong as the certificate allows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.images import InputTransform, to_input
from dpcxr_core.training.training_set import TrainingData

# Times the clip norm: the gradient of a canary before clipping is this long.
_OVERSIZE = 100.0
_TOLERANCE = 1e-3  # of network input; canaries differ by more than one in some pixel


@dataclass(frozen=True)
class PlantedCanaries:
    """A training set with canaries in it, and who is.

    Attributes:
        data: The real images, then the canaries that entered.
        images: ``(n_canaries, size, size)`` uint8, of all canaries.
        included: ``(n_canaries,)`` bool, the auditor's fair coins.
    """

    data: TrainingData
    images: np.ndarray
    included: np.ndarray


class CanaryNetwork(nn.Module):
    """``network`` as it is for ordinary images; canaries reach their own weight of ``canaries`` instead.

    Promise:
        The output for an ordinary image is that of ``network``. A canary gives logits of zero; with labels of zero the
        gradient of its loss is ``_OVERSIZE`` clip norms in its own weight and zero everywhere else, at all times.

    Args:
        network: With five outputs.
        images: ``(n_canaries, size, size)`` uint8 of ``canary_images``.
        transform: As in the training that follows.
        max_grad_norm: Clip norm of that training, in gradient units.
    """

    pictures: Tensor

    def __init__(self, network: nn.Module, images: np.ndarray, transform: InputTransform, max_grad_norm: float) -> None:
        super().__init__()
        self.network = network
        self.canaries = nn.Linear(len(images), 1, bias=False)
        nn.init.zeros_(self.canaries.weight)
        # the loss of a row is a mean over findings whose slope at a logit of zero and a label of zero is one half
        self._scale = 2 * _OVERSIZE * max_grad_norm
        self._n_bits = _n_bits(len(images))
        self.register_buffer("pictures", to_input(images, transform)[:, 0].flatten(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 5)`` logits of ``x`` ``(n, channels, size, size)``."""
        logits = self.network(x)
        number, is_canary = self._recognise(x.detach())
        one_hot = nn.functional.one_hot(number, self.canaries.in_features) * is_canary[:, None]
        own = self.canaries(one_hot.to(logits.dtype) * self._scale)
        # of value zero, whatever the weight has become, so that the gradient is the same in every step
        return torch.where(is_canary[:, None], own - own.detach(), logits)

    def _recognise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(n,)`` canary number, in range for every row, and ``(n,)`` whether the row is that canary."""
        rows = x[:, 0].flatten(1)
        middle = (self.pictures.amin() + self.pictures.amax()) / 2
        bits = (rows[:, : self._n_bits] > middle).long()
        number = (bits << torch.arange(self._n_bits, device=x.device)).sum(1).clamp_(max=len(self.pictures) - 1)
        return number, (rows - self.pictures[number]).abs().amax(1) < _TOLERANCE


def canary_images(n_canaries: int, image_size: int) -> np.ndarray:
    """``(n_canaries, image_size, image_size)`` uint8: black and white, each with its number in its first pixels.

    Then comes the number's complement, so that all have the same mean and spread, then black and white in turn.

    Raises:
        UserError: The number does not fit into the image, or is below 1.
    """
    n_bits = _n_bits(n_canaries)
    if n_canaries < 1 or 2 * n_bits > image_size**2:
        raise UserError(f"n_canaries must be from 1 to 2**{image_size**2 // 2}; got {n_canaries}")
    bits = np.arange(n_canaries)[:, None] >> np.arange(n_bits) & 1
    rest = np.broadcast_to(np.arange(image_size**2 - 2 * n_bits) % 2, (n_canaries, image_size**2 - 2 * n_bits))
    pixels = np.concatenate([bits, 1 - bits, rest], axis=1) * 255
    return pixels.astype(np.uint8).reshape(n_canaries, image_size, image_size)


def plant(data: TrainingData, n_canaries: int, rng: np.random.Generator) -> PlantedCanaries:
    """``data`` with each of ``n_canaries`` in it or not, by a fair coin of ``rng``, the auditor's secret.

    Each canary is a patient of its own.
    """
    images = canary_images(n_canaries, data.images.shape[1])
    included = rng.random(n_canaries) < 0.5
    n_in = int(included.sum())
    rows = np.arange(len(data.images)) if data.rows is None else data.rows
    names = np.array([f"canary-{number}" for number in np.flatnonzero(included)], dtype=object)
    patients = None if data.patient_ids is None else np.concatenate([data.patient_ids.astype(object), names])
    planted = replace(
        data,
        images=np.concatenate([data.images[rows], images[included]]),
        labels=np.concatenate([data.labels, np.zeros((n_in, len(FINDINGS)), data.labels.dtype)]),
        rows=None,
        patient_ids=patients,
    )
    return PlantedCanaries(planted, images, included)


def _n_bits(n_canaries: int) -> int:
    return max(1, (n_canaries - 1).bit_length())
