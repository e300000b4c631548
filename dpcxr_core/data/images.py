"""Batches of stored images as network input: the only module of this room that uses torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from dpcxr_core.config import UserError

CPU = torch.device("cpu")
_SD_FLOOR = 8.0  # grey levels; keeps a nearly blank picture from becoming amplified noise


@dataclass(frozen=True, kw_only=True)
class InputTransform:
    """How grey values become network input; part of what pretrained weights expect.

    Attributes:
        mode: "per_image": minus the image's mean, over its standard deviation plus 8 grey levels.
            "fixed": divided by 255, minus ``mean``, over ``std``.
        mean: One number per channel for "fixed", empty for "per_image".
        std: As ``mean``; positive.
        in_chans: Channels of the network's input; grey is repeated.
    """

    mode: Literal["per_image", "fixed"]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    in_chans: Literal[1, 3] = 3

    def __post_init__(self) -> None:
        if self.mode not in ("per_image", "fixed"):
            raise UserError(f"mode must be 'per_image' or 'fixed'; got {self.mode!r}")
        if self.in_chans not in (1, 3):
            raise UserError(f"in_chans must be 1 or 3; got {self.in_chans}")
        expected = self.in_chans if self.mode == "fixed" else 0
        if len(self.mean) != expected or len(self.std) != expected:
            raise UserError(
                f"mode {self.mode!r} with {self.in_chans} channels takes {expected} values of mean and std; "
                f"got {self.mean} and {self.std}"
            )
        if any(value <= 0 for value in self.std):
            raise UserError(f"std must be positive; got {self.std}")


def to_input(batch: np.ndarray, transform: InputTransform, device: torch.device = CPU) -> torch.Tensor:
    """``(n, in_chans, height, width)`` float32 on ``device`` from ``(n, height, width)`` uint8; n may be 0.

    What is moved to a GPU are the stored bytes, a twelfth of the input of three channels that is computed there.

    Raises:
        ValueError: ``batch`` is not uint8 or not three-dimensional: the range of other types is unknown.
    """
    if batch.dtype != np.uint8 or batch.ndim != 3:
        raise ValueError(f"images must be (n, height, width) uint8; got {batch.shape} {batch.dtype}")
    grey = moved(torch.tensor(batch), device).to(torch.float32).unsqueeze(1)
    if transform.mode == "per_image":
        centred = grey - grey.mean(dim=(1, 2, 3), keepdim=True)
        sd = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        grey = centred / (sd + _SD_FLOOR)
        return grey.expand(-1, transform.in_chans, -1, -1).contiguous()
    mean = torch.tensor(transform.mean, device=device).view(1, -1, 1, 1)
    std = torch.tensor(transform.std, device=device).view(1, -1, 1, 1)
    return (grey / 255 - mean) / std


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``tensor`` on ``device``; to a GPU it is copied from pinned memory, so that the caller does not wait for it."""
    if device.type != "cuda" or tensor.device.type == "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def resize_batch(batch: np.ndarray, size: int) -> np.ndarray:
    """``(n, size, size)`` uint8 from ``(n, height, width)`` uint8, bicubic and anti-aliased."""
    if batch.shape[1:] == (size, size) or len(batch) == 0:
        return batch.reshape(len(batch), size, size).copy()
    grey = torch.tensor(batch, dtype=torch.float32).unsqueeze(1)
    resized = functional.interpolate(grey, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    return resized.squeeze(1).round().clamp(0, 255).to(torch.uint8).numpy()
