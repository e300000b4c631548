"""What a network makes of an image before its linear head: the pooled features, one row an image."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dpcxr_core.data.images import InputTransform, to_input
from dpcxr_core.training.architectures import pooled_features
from dpcxr_core.training.loading import LoadAhead, read_rows


@torch.no_grad()
def embeddings_of(
    model: nn.Module,
    images: np.ndarray,
    transform: InputTransform,
    batch_size: int = 64,
    *,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Pooled features of ``images``, what the linear head reads: ``(n, n_features)`` float32.

    Args:
        model: A network of ``build_architecture``; evaluated in eval mode, where its parameters are.
        images: ``(n_stored, size, size)`` uint8; may be memory-mapped, and is never read as a whole.
        transform: How pixels become input of this model.
        batch_size: Images at once; on a CPU, larger batches leave its caches and are slower.
        rows: ``(n,)`` which of ``images`` to embed; None for all, in order.
    """
    model.eval()
    rows = np.arange(len(images)) if rows is None else rows
    device = next(model.parameters()).device
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    embedded = [np.zeros((0, int(model.num_features)), np.float32)]  # type: ignore[arg-type]
    with LoadAhead(lambda batch: to_input(read_rows(images, batch), transform, device), batches) as pictures:
        embedded += [pooled_features(model, picture).cpu().numpy() for picture in pictures]
    return np.concatenate(embedded)
