"""What a network makes of stored images, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from dpcxr_core.data.images import InputTransform, to_input
from dpcxr_core.training.loading import LoadAhead, read_rows


@torch.no_grad()
def outputs_of(
    model: nn.Module,
    output: Callable[[Tensor], Tensor],
    n_columns: int,
    images: np.ndarray,
    transform: InputTransform,
    batch_size: int,
    rows: np.ndarray | None,
) -> np.ndarray:
    """``output`` of ``images``: ``(n, n_columns)`` float32.

    Args:
        model: The network that ``output`` asks; in eval mode from here on, and left where its parameters are.
        output: From input ``(n_batch, channels, size, size)`` to ``(n_batch, n_columns)``.
        n_columns: Of the output, also where there is no image.
        images: ``(n_stored, size, size)`` uint8; may be memory-mapped, and is never read as a whole.
        transform: How pixels become input of this model.
        batch_size: Images at once; on a CPU, larger batches leave its caches and are slower.
        rows: ``(n,)`` which of ``images`` to take; None for all, in order.
    """
    model.eval()
    rows = np.arange(len(images)) if rows is None else rows
    device = next(model.parameters()).device
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    found = [np.zeros((0, n_columns), np.float32)]
    with LoadAhead(lambda batch: to_input(read_rows(images, batch), transform, device), batches) as pictures:
        found += [output(picture).cpu().numpy() for picture in pictures]
    return np.concatenate(found)
