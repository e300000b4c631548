"""Images of nothing, to audit with where real ones need protection: the mechanism is the same whatever they show."""

from __future__ import annotations

import numpy as np

from dpcxr_core.config import FINDINGS


def random_images(n_images: int, image_size: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``(n_images, image_size, image_size)`` uint8 noise and ``(n_images, 5)`` float32 labels by fair coins."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, size=(n_images, image_size, image_size), dtype=np.uint8)
    return images, (rng.random((n_images, len(FINDINGS))) < 0.5).astype(np.float32)
