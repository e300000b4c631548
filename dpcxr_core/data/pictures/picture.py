"""What a picture file gives: the values it stores, and how bright each of them is meant to look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_PIXELS = 64_000_000  # four times the largest detector read about (4280 x 3520); a larger one is a bomb
MAX_BYTES = 4 * MAX_PIXELS
_MAX_VALUES = 2**16


class UnreadableImageError(ValueError):
    """A picture that cannot be used; the message is the reason, fit for a table of refused images."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One decoded picture. Which grey value means "bright" differs between files, so both sides are kept.

    Attributes:
        stored: ``(height, width)`` integers of at most 16 bits, as the file holds them.
        brightness: ``(n_values,)`` float64, larger is brighter: entry ``i`` is how bright the stored value
            ``stored.min() + i`` is meant to look, in a unit of its own; NaN where that value marks padding.
        inverted: MONOCHROME1, where small stored values are bright. ``brightness`` has this in it already.
        from_dicom: A DICOM file, whose pixels the published code took as they are.
    """

    stored: np.ndarray
    brightness: np.ndarray
    inverted: bool = False
    from_dicom: bool = False


def grey_picture(stored: np.ndarray) -> Picture:
    """The picture whose stored values are its brightness, as in PNG and JPEG files and in arrays.

    Args:
        stored: ``(height, width)`` integers, at least one, spanning at most 16 bits.
    """
    return Picture(stored, stored_values(stored).astype(np.float64))


def stored_values(stored: np.ndarray) -> np.ndarray:
    """Every integer from the smallest to the largest of ``stored``: int64, ascending, without gaps.

    Raises:
        UnreadableImageError: They span more than 16 bits.
    """
    lowest, highest = int(stored.min()), int(stored.max())
    if highest - lowest >= _MAX_VALUES:
        raise UnreadableImageError(f"grey values {lowest} to {highest}; the limit is 16 bits")
    return np.arange(lowest, highest + 1)


def refuse_size(width: int, height: int) -> None:
    """Nothing; called before decoding, so that a bomb costs no memory.

    Raises:
        UnreadableImageError: No pixels, or more than ``MAX_PIXELS``.
    """
    if not (width > 0 and height > 0):
        raise UnreadableImageError(f"{width} x {height} pixels: no picture")
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f"{width} x {height} pixels; the limit is {MAX_PIXELS} in all")
