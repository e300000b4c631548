"""How bright each stored value of a DICOM picture is meant to look: modality, window or VOI table, inversion, padding.

All four act on one value at a time, so they are applied to the few values that occur and not to millions of
pixels. The steps are done here and not by ``pydicom.pixels``, which turns a picture of negative slope upside
down when it applies a window, and wraps around in a table of 8-bit entries with more than 256 of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydicom import Dataset

from dpcxr_core.data.pictures.picture import UnreadableImageError


def brightness_of(values: np.ndarray, data_set: Dataset) -> np.ndarray:
    """The brightness of every stored value: larger is brighter, NaN is padding.

    Args:
        values: ``(n,)`` integers, ascending.
        data_set: The data set that they come from. Grey pictures are shown by its tables; colour ones as they are.

    Raises:
        UnreadableImageError: A table or window that cannot be applied.

    Source:
        DICOM PS3.3, C.11.1 (modality), C.11.2 (VOI), C.7.6.3.1.2 (MONOCHROME1), C.7.5.1.1.2 (padding).
    """
    if data_set.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        return values.astype(np.float64)
    shown = _for_the_eye(_by_modality(values.astype(np.float64), data_set), data_set)
    if data_set.PhotometricInterpretation == "MONOCHROME1":
        shown = -shown
    return np.where(_padding(values, data_set), np.nan, shown)


def _by_modality(values: np.ndarray, data_set: Dataset) -> np.ndarray:
    table = data_set.get("ModalityLUTSequence")
    if table:
        return _looked_up(values, table[0], data_set)
    slope, intercept = _number(data_set, "RescaleSlope"), _number(data_set, "RescaleIntercept")
    if slope is None or intercept is None:
        return values
    if slope == 0:
        raise UnreadableImageError("RescaleSlope is 0")
    return values * slope + intercept


def _for_the_eye(values: np.ndarray, data_set: Dataset) -> np.ndarray:
    """By the VOI table if there is one, else by the window, else unchanged; the first of several."""
    tables = data_set.get("VOILUTSequence")
    if tables and tables[0].get("LUTDescriptor") is not None and tables[0].get("LUTData") is not None:
        return _looked_up(values, tables[0], data_set)
    center, width = _number(data_set, "WindowCenter"), _number(data_set, "WindowWidth")
    if center is None or width is None:
        return values
    function = str(data_set.get("VOILUTFunction") or "LINEAR").upper()
    return _windowed(values, center, width, function)


def _windowed(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """``values`` by a window, as 0 to 1 (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    least = 1 if function == "LINEAR" else 0
    if width < least or width == 0:
        raise UnreadableImageError(f"window of width {width:g}: nothing to see")
    if function == "SIGMOID":
        return 0.5 * (1 + np.tanh(2 * (values - center) / width))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise UnreadableImageError("its VOI LUT function is unknown")
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _looked_up(values: np.ndarray, table: Dataset, data_set: Dataset) -> np.ndarray:
    """``values`` through a table; what lies outside it takes its first or last entry (PS3.3 C.11.1.1.1)."""
    n_entries, first, bits = (int(number) for number in table.LUTDescriptor)
    n_entries = n_entries or 2**16
    entries: Any = table.LUTData
    if isinstance(entries, bytes):
        width = 1 if bits <= 8 and len(entries) in (n_entries, n_entries + 1) else 2
        little_endian = data_set.original_encoding[1] is not False
        entries = np.frombuffer(entries[: n_entries * width], f"{'<' if little_endian else '>'}u{width}")
    entries = np.atleast_1d(np.asarray(entries, dtype=np.float64))
    if len(entries) != n_entries:
        raise UnreadableImageError(f"a lookup table of {len(entries)} entries says it has {n_entries}")
    return entries[np.clip(np.rint(values) - first, 0, n_entries - 1).astype(np.int64)]


def _padding(values: np.ndarray, data_set: Dataset) -> np.ndarray:
    """Which values say that there is no picture here."""
    value = _number(data_set, "PixelPaddingValue")
    if value is None:
        return np.zeros(values.shape, dtype=bool)
    limit = _number(data_set, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    return (values >= low) & (values <= high)


def _number(data_set: Dataset, name: str) -> float | None:
    """The first number of an element; None where it is absent or empty."""
    found = data_set.get(name)
    if found is None or found == "":
        return None
    number = float(found if isinstance(found, int | float | str) else found[0])
    if not math.isfinite(number):
        raise UnreadableImageError(f"{name} is {number}")
    return number
