"""What a network makes of an image before its linear head: the pooled features, one row an image."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import nn

from dpcxr_core.data.images import InputTransform
from dpcxr_core.training.architectures import pooled_features
from dpcxr_core.training.batchwise import outputs_of


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
    n_features = int(model.num_features)  # type: ignore[arg-type]
    return outputs_of(model, partial(pooled_features, model), n_features, images, transform, batch_size, rows)
