"""Picture files to square grey images: reading what is really there, and the two preparation recipes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

MAX_PIXELS = 64_000_000  # four times the largest detector read about (4280 x 3520); a larger one is a bomb
WINDOW_PERCENTILES = (0.5, 99.5)


class UnreadableImageError(ValueError):
    """A picture that cannot be used; the message is the reason, fit for a table of refused images."""


def read_grey(path: Path) -> np.ndarray:
    """One channel of a PNG or JPEG file, as stored: ``(height, width)`` uint8, or uint16 for 16-bit grey.

    Colour becomes luminance (exact where the channels are equal, as in grey pictures saved as colour); an
    alpha channel is dropped.

    Raises:
        UnreadableImageError: Missing, empty, truncated, too large, or no picture; the reason says which.
        OSError: The disk failed, which says nothing about the picture.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UnreadableImageError(f"cannot be opened: {(error.strerror or 'error').lower()}") from None
    if not content:
        raise UnreadableImageError("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(f"{image.width} x {image.height} pixels; the limit is {MAX_PIXELS} in all")
            return _one_channel(image)
    except Image.UnidentifiedImageError:
        raise UnreadableImageError("not a PNG or JPEG picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(f"more than the limit of {MAX_PIXELS} pixels") from None
    except UnreadableImageError:
        raise
    except Exception as error:
        # The bytes are in memory: whatever Pillow's decoders raise (a dozen kinds), the picture is broken.
        raise UnreadableImageError(f"damaged: {str(error) or type(error).__name__}") from None


def _one_channel(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey: "I;16" and its byte orders; "I" in some releases
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableImageError(f"grey values {values.min()} to {values.max()}; the limit is 16 bits")
        return values.astype(np.uint16)
    return np.asarray(image.convert("L"))


def corrected(grey: np.ndarray, size: int) -> np.ndarray:
    """``grey`` as ``(size, size)`` uint8: whole picture and aspect kept, filtered before shrinking.

    16-bit values between the percentiles 0.5 and 99.5 are spread over 0 to 255, so that burnt-in letters do
    not set the range; 8-bit values stay. The longer side becomes ``size`` (bicubic with the filter as wide as
    the reduction); the shorter is padded with black on both sides, so no part of the chest is cropped away.
    """
    values = _to_8_bits(grey) if grey.dtype == np.uint16 else grey
    height, width = values.shape
    scale = size / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    resized = Image.fromarray(values).resize((new_width, new_height), Image.Resampling.BICUBIC)
    square = np.zeros((size, size), dtype=np.uint8)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    square[top : top + new_height, left : left + new_width] = np.asarray(resized)
    return square


def _to_8_bits(grey: np.ndarray) -> np.ndarray:
    low, high = np.percentile(grey, WINDOW_PERCENTILES)
    if high <= low:
        return np.zeros(grey.shape, dtype=np.uint8)
    return np.rint((np.clip(grey, low, high) - low) * (255 / (high - low))).astype(np.uint8)


def as_published(grey: np.ndarray, size: int) -> np.ndarray:
    """``grey`` as ``(size, size)`` uint8 the way the study's sister code does it, flaws included.

    16 bits are cut to the upper 8; second-order spline zoom with no low-pass filter and the aspect ratio
    lost; the smallest and largest value become 0 and 255; then the histogram is equalised. The sister code
    saves the result as JPEG, which is left out here.

    Source:
        ``csv_data_preprocess.py`` of ``tayebiarasteh/chestx_domain``, lines 40 to 131.
    """
    values = (grey >> 8).astype(np.uint8) if grey.dtype == np.uint16 else grey
    zoomed = ndimage.zoom(values, (size / values.shape[0], size / values.shape[1]), order=2).astype(float)
    low, high = zoomed.min(), zoomed.max()
    if high <= low:
        return np.zeros((size, size), dtype=np.uint8)
    return equalised(np.rint((zoomed - low) * (255 / (high - low))).astype(np.uint8))


def equalised(image: np.ndarray) -> np.ndarray:
    """``image`` (uint8) with its histogram equalised; its smallest value becomes 0, its largest 255.

    Source:
        OpenCV ``equalizeHist``: value v becomes 255 (c(v) - c(least)) / (n - c(least)), c counting the pixels
        at or below a value.
    """
    cumulative = np.cumsum(np.bincount(image.ravel(), minlength=256))
    least = cumulative[image.min()]
    if least == image.size:
        return image.copy()
    table = np.rint(np.clip(cumulative - least, 0, None) * (255 / (image.size - least)))
    return table.astype(np.uint8)[image]


@dataclass(frozen=True)
class Recipe:
    """One way from a picture to a stored image.

    Attributes:
        render: Grey picture and size -> ``(size, size)`` uint8.
        steps: What it does, in words; hashed into a store, so that stores of two recipes never mix.
    """

    render: Callable[[np.ndarray, int], np.ndarray]
    steps: Mapping[str, str]


RECIPES = {
    "corrected": Recipe(
        corrected,
        {
            "name": "corrected",
            "sixteen_bits": f"percentiles {WINDOW_PERCENTILES[0]} to {WINDOW_PERCENTILES[1]}",
            "resize": "bicubic, anti-aliased, aspect kept, black padding",
            "histogram": "kept",
        },
    ),
    "as_published": Recipe(
        as_published,
        {
            "name": "as_published",
            "sixteen_bits": "upper 8 bits",
            "resize": "spline of order 2, no low-pass filter, aspect lost",
            "histogram": "minimum to maximum, then equalised",
        },
    ),
}
