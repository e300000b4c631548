"""Random shifts of images, drawn apart from the images they move."""

from __future__ import annotations

import numpy as np


def draw_shifts(n: int, max_shift: int, rng: np.random.Generator) -> np.ndarray:
    """``(n, 2)`` int64 shifts in pixels, down and right, each uniform from ``-max_shift`` to ``max_shift``."""
    return rng.integers(-max_shift, max_shift + 1, size=(n, 2))


def shift_images(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """``images`` with each one moved by its own shift, the edge repeated where it left.

    Args:
        images: ``(n, height, width)``, any type.
        shifts: ``(n, 2)`` integers: pixels down and to the right.

    Returns:
        An array of the shape and type of ``images``; ``images`` itself where nothing moves.
    """
    furthest = int(np.abs(shifts).max(initial=0))
    if furthest == 0:
        return images
    _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (furthest, furthest), (furthest, furthest)), mode="edge")
    moved = np.empty_like(images)
    # whole blocks, one an image: several times faster than an index for every pixel
    for image, (down, right) in enumerate(shifts.tolist()):
        top, left = furthest - down, furthest - right
        moved[image] = padded[image, top : top + height, left : left + width]
    return moved
