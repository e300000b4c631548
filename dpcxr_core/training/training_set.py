"""The training set: images that stay on disk, with labels and patients, and the batches made from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.images import CPU, InputTransform, to_input
from dpcxr_core.training.augmentation import shift_images
from dpcxr_core.training.loading import read_rows
from dpcxr_core.training.steps import PhysicalBatch


@dataclass(frozen=True)
class TrainingData:
    """Images to train on, with their labels; the images stay where they are and are read batch by batch.

    Attributes:
        images: ``(n_stored, size, size)`` uint8; may be memory-mapped.
        labels: ``(n, 5)`` float32 in the order of ``FINDINGS``: 1, 0 or NaN where unknown.
        rows: ``(n,)`` integers: which of ``images`` to train on; None for all, in order.
        patient_ids: ``(n,)`` whose image each one is; needed where the patient is the privacy unit.
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray | None = None
    patient_ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise UserError(f"images must be (n, size, size) uint8; got {self.images.shape} {self.images.dtype}")
        n = len(self.images) if self.rows is None else len(self.rows)
        if n == 0:
            raise UserError("there is no image to train on. Was the training split empty?")
        if self.rows is not None and not 0 <= self.rows.min() <= self.rows.max() < len(self.images):
            raise UserError(
                f"rows must be from 0 to {len(self.images) - 1}; got {self.rows.min()} to {self.rows.max()}"
            )
        if self.labels.shape != (n, len(FINDINGS)):
            raise UserError(f"labels must be ({n}, {len(FINDINGS)}), a row an image; got {self.labels.shape}")
        if self.patient_ids is not None and self.patient_ids.shape != (n,):
            raise UserError(f"patient_ids must be ({n},), one an image; got {self.patient_ids.shape}")

    @property
    def n_images(self) -> int:
        """How many images there are to train on."""
        return len(self.labels)


@dataclass(frozen=True)
class LoadedBatch:
    """A physical batch with its content.

    Attributes:
        drawn: Which images, of which units, moved how.
        pictures: ``(n_rows, channels, size, size)`` float32 input of the network.
        labels: ``(n_rows, 5)`` float32.
    """

    drawn: PhysicalBatch
    pictures: Tensor
    labels: Tensor


def load_batch(
    data: TrainingData, transform: InputTransform, drawn: PhysicalBatch, device: torch.device = CPU
) -> LoadedBatch:
    """The content of ``drawn``: its images read, shifted and made network input on ``device``, all at once."""
    rows = drawn.images if data.rows is None else data.rows[drawn.images]
    pictures = to_input(shift_images(read_rows(data.images, rows), drawn.shifts), transform, device)
    return LoadedBatch(drawn, pictures, torch.from_numpy(data.labels[drawn.images]))
