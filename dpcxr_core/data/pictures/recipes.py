"""The two recipes that turn a picture into a square stored image: ``corrected`` and ``as_published``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image
from scipy import ndimage

from dpcxr_core.config import UserError
from dpcxr_core.data.pictures.picture import Picture, UnreadableImageError

WINDOW_PERCENTILES = (0.5, 99.5)
_BLOCK = 2**18  # pixels treated at once: small enough for a processor's cache


def corrected(picture: Picture, size: int) -> np.ndarray:
    """``picture`` as ``(size, size)`` uint8: whole picture and aspect kept, filtered before shrinking.

    Brightness between its percentiles 0.5 and 99.5 is spread over 0 to 255, so that burnt-in letters do not set
    the range. This holds for every bit depth, so that depth, inversion and container do not change the result.
    Padding sets no window and becomes black. The longer side becomes ``size`` (bicubic with the filter as wide as
    the reduction); the shorter is filled up with black on both sides, so no part of the chest is cropped away.
    All in floating point, rounded once at the end.

    Raises:
        UnreadableImageError: The percentiles are equal: there is nothing to see.
    """
    lowest = int(picture.stored.min())
    low, high = _window(picture.brightness, _counts(picture.stored, lowest, len(picture.brightness)))
    if not high > low:
        raise UnreadableImageError("blank: one grey value fills it")
    levels = np.clip((picture.brightness - low) * (255 / (high - low)), 0, 255)
    height, width = picture.stored.shape
    scale = size / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    shown = Image.fromarray(_looked_up(picture.stored, lowest, np.nan_to_num(levels)))
    resized = np.asarray(shown.resize((new_width, new_height), Image.Resampling.BICUBIC))
    square = np.zeros((size, size), dtype=np.uint8)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    square[top : top + new_height, left : left + new_width] = np.rint(np.clip(resized, 0, 255))
    return square


def _blocks(stored: np.ndarray) -> Iterator[slice]:
    """Slices of the flat picture, so that no array of eight bytes a pixel is ever made of all of it."""
    return (slice(start, start + _BLOCK) for start in range(0, stored.size, _BLOCK))


def _counts(stored: np.ndarray, lowest: int, n_values: int) -> np.ndarray:
    """Pixels of each value from ``lowest`` on."""
    flat, counts = stored.reshape(-1), np.zeros(n_values, dtype=np.int64)
    for block in _blocks(stored):
        counts += np.bincount(flat[block].astype(np.int64) - lowest, minlength=n_values)
    return counts


def _looked_up(stored: np.ndarray, lowest: int, levels: np.ndarray) -> np.ndarray:
    """``levels[stored - lowest]`` as float32."""
    flat, table = stored.reshape(-1), levels.astype(np.float32)
    shown = np.empty(flat.shape, dtype=np.float32)
    for block in _blocks(stored):
        np.take(table, flat[block].astype(np.int64) - lowest, out=shown[block], mode="clip")  # clip: without a copy
    return shown.reshape(stored.shape)


def _window(brightness: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The two percentiles of all pixels but padding, as ``np.percentile`` defines them; NaN where there are none."""
    seen = (counts > 0) & ~np.isnan(brightness)
    if not seen.any():
        return np.nan, np.nan
    values, counts = brightness[seen], counts[seen]
    order = np.argsort(values, kind="stable")
    values, at_or_below = values[order], np.cumsum(counts[order])
    places = np.asarray(WINDOW_PERCENTILES) / 100 * (at_or_below[-1] - 1)
    before = values[np.searchsorted(at_or_below, np.floor(places), side="right")]
    after = values[np.searchsorted(at_or_below, np.ceil(places), side="right")]
    low, high = before + (after - before) * (places - np.floor(places))
    return float(low), float(high)


def as_published(picture: Picture, size: int, equalise: bool = True) -> np.ndarray:
    """``picture`` as ``(size, size)`` uint8 the way the study's sister code does it, flaws included.

    Stored values without any table of the file, 16 bits of a PNG cut to the upper 8; second-order spline zoom with
    no low-pass filter and the aspect ratio lost; the smallest and largest value become 0 and 255; MONOCHROME1 is
    inverted; then the histogram is equalised. The sister code saves the result as JPEG, which is left out here.

    Args:
        picture: What to render.
        size: Height and width in pixels.
        equalise: False for the files of a set that are equalised already.

    Raises:
        UnreadableImageError: One value fills the picture: the sister code would divide by zero.

    Source:
        ``csv_data_preprocess.py`` of ``tayebiarasteh/chestx_domain``, lines 40 to 131.
    """
    values = picture.stored
    if not picture.from_dicom and values.dtype != np.uint8:
        values = (values >> 8).astype(np.uint8)
    zoomed = ndimage.zoom(values, (size / values.shape[0], size / values.shape[1]), order=2).astype(float)
    low, high = zoomed.min(), zoomed.max()
    if not high > low:
        raise UnreadableImageError("blank: one grey value fills it")
    image = np.rint((zoomed - low) * (255 / (high - low))).astype(np.uint8)
    if picture.inverted:
        image = 255 - image
    return equalised(image) if equalise else image


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
        render: Picture and size -> ``(size, size)`` uint8; raises ``UnreadableImageError`` on a blank picture.
        steps: What it does, in words; hashed into a store, so that stores of two recipes never mix.
    """

    render: Callable[[Picture, int], np.ndarray]
    steps: Mapping[str, str]


RECIPES = {
    "corrected": Recipe(
        corrected,
        {
            "name": "corrected",
            "brightness": "modality and VOI tables, MONOCHROME1 inverted, padding black",
            "window": f"percentiles {WINDOW_PERCENTILES[0]} to {WINDOW_PERCENTILES[1]}, for every bit depth",
            "resize": "bicubic, anti-aliased, aspect kept, black padding, rounded once",
            "histogram": "kept",
        },
    ),
    "as_published": Recipe(
        as_published,
        {
            "name": "as_published",
            "brightness": "stored values; upper 8 bits of a 16-bit PNG; MONOCHROME1 inverted at the end",
            "window": "minimum to maximum, after the resize",
            "resize": "spline of order 2, no low-pass filter, aspect lost",
            "histogram": "equalised",
        },
    ),
}


def recipe_for(name: str, already_equalised: bool = False) -> Recipe:
    """The recipe ``name``, which equalises no set whose files are equalised already.

    Args:
        name: A key of ``RECIPES``.
        already_equalised: As the data set's manifest says. Equalising twice makes a set differ from the others.

    Raises:
        UserError: No such recipe.
    """
    if name not in RECIPES:
        raise UserError(f"recipe must be one of {', '.join(RECIPES)}; got {name!r}")
    recipe = RECIPES[name]
    if not (already_equalised and recipe.render is as_published):
        return recipe
    steps = {**recipe.steps, "histogram": "equalised in the files, not again"}
    return replace(recipe, render=partial(as_published, equalise=False), steps=steps)
