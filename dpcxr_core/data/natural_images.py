"""Natural photographs as grey images: what non-domain pretraining of the stand-ins learns from."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dpcxr_core.config import UserError

_ARRAYS = ("jpeg", "offset", "label", "classes")


@dataclass(frozen=True)
class NaturalImages:
    """Natural images with one class each.

    Attributes:
        images: ``(n, 64, 64)`` uint8 grey.
        labels: ``(n,)`` int64, positions in ``classes``.
        classes: Class names.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def load_caltech101(path: Path) -> NaturalImages:
    """The images of Caltech-101 from one ``.npz`` of 64-pixel JPEG pictures.

    Its arrays are jpeg, offset, label and classes; picture i is ``jpeg[offset[i]:offset[i + 1]]``. Colour
    becomes luminance.

    Raises:
        UserError: The file is missing, or is not such a file.
    """
    if not path.is_file():
        raise UserError(f"no natural images at {path}; expected caltech101_64.npz (see data_manifests/README.md)")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            jpeg, offset, label, classes = (arrays[name] for name in _ARRAYS)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not the natural-image file expected ({', '.join(_ARRAYS)}): {error}") from None
    _check_arrays(path, jpeg, offset, label, classes)
    try:
        images = [_grey(jpeg[start:stop].tobytes()) for start, stop in zip(offset, offset[1:], strict=False)]
    except OSError as error:
        raise UserError(f"{path} holds a picture that cannot be read: {error}") from None
    if any(image.shape != (64, 64) for image in images):
        raise UserError(f"{path} holds pictures that are not 64 x 64 pixels")
    return NaturalImages(
        images=np.stack(images), labels=label.astype(np.int64), classes=tuple(str(name) for name in classes)
    )


def _check_arrays(path: Path, jpeg: np.ndarray, offset: np.ndarray, label: np.ndarray, classes: np.ndarray) -> None:
    whole = len(label) > 0 and len(offset) == len(label) + 1 and offset[0] == 0 and offset[-1] == len(jpeg)
    if not whole or (np.diff(offset) <= 0).any():
        raise UserError(f"{path}: {len(offset)} offsets do not cut {len(jpeg)} bytes into {len(label)} pictures")
    if label.min() < 0 or label.max() >= len(classes):
        raise UserError(f"{path}: labels {label.min()} to {label.max()}, but {len(classes)} classes")


def _grey(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return np.asarray(image.convert("L"))
