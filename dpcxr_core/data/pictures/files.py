"""Picture files to pictures, by what is in the file and not by its name: PNG, JPEG and DICOM."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from dpcxr_core.data.pictures.dicom import decode_dicom, looks_like_dicom
from dpcxr_core.data.pictures.picture import MAX_BYTES, Picture, UnreadableImageError, grey_picture, refuse_size

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# What is wrong with a name or a permission; every other error of the disk says nothing about the picture.
_ABOUT_THE_NAME = {
    getattr(errno, name) for name in ("ENOENT", "EISDIR", "ENOTDIR", "EACCES", "EPERM", "ELOOP", "ENAMETOOLONG")
}
_LONGEST_REASON = 100


def read_picture(path: Path) -> Picture:
    """The one picture in a PNG, JPEG or DICOM file.

    Colour becomes luminance (exact where the channels are equal, as in grey pictures saved as colour); an
    alpha channel is dropped; a turn noted in the file is made.

    Raises:
        UnreadableImageError: Missing, empty, truncated, too large, or no picture; the reason says which.
        OSError: The disk failed, which says nothing about the picture.
    """
    return decode_picture(_content(path))


def _content(path: Path) -> bytes:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise UnreadableImageError(f"{size} bytes; the limit is {MAX_BYTES}")
        return file.read()


def open_regular(path: Path) -> BinaryIO:
    """The file, open to be read.

    Raises:
        UnreadableImageError: Missing, not to be read, or no regular file; the reason says which.
        OSError: The disk failed, which says nothing about the picture.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited on for ever
            raise UnreadableImageError(f"cannot be opened: {'is a directory' if path.is_dir() else 'not a file'}")
        return path.open("rb")
    except OSError as error:
        if error.errno not in _ABOUT_THE_NAME:
            raise
        raise UnreadableImageError(f"cannot be opened: {os.strerror(error.errno or 0).lower()}") from None
    except UnreadableImageError:
        raise
    except ValueError:  # a zero byte, or letters that no file name can hold
        raise UnreadableImageError("cannot be opened: no possible name of a file") from None


def decode_picture(content: bytes) -> Picture:
    """The one picture in the bytes of a PNG, JPEG or DICOM file; see ``read_picture``.

    Raises:
        UnreadableImageError: Empty, truncated, too large, or no picture; the reason says which.
    """
    if not content:
        raise UnreadableImageError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file that breaks a rule and is read all the same
            if content.startswith(_PNG):
                return _raster(content, "PNG")
            if content.startswith(_JPEG):
                return _raster(content, "JPEG")
            if looks_like_dicom(content):
                return decode_dicom(content)
    except UnreadableImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError("more pixels than any radiograph has") from None
    except MemoryError:
        raise UnreadableImageError("needs more memory than there is") from None
    except Exception as error:
        # The bytes are in memory: whatever the decoders raise (dozens of kinds), the picture is broken.
        raise UnreadableImageError(f"damaged: {_in_short(error)}") from None
    raise UnreadableImageError("not a PNG, JPEG or DICOM picture")


def _in_short(error: Exception) -> str:
    """What a decoder says, without numbers and quotations: the same for the same damage, and nothing of a patient."""
    said = re.split(r"[(<'\":\n]", re.sub(r"-?\d+ ?", "", str(error)))[0].strip(" .,")
    return said[:_LONGEST_REASON] or type(error).__name__


def _raster(content: bytes, kind: str) -> Picture:
    with Image.open(io.BytesIO(content), formats=(kind,)) as image:
        refuse_size(*image.size)
        ImageOps.exif_transpose(image, in_place=True)
        return grey_picture(_one_channel(image))


def _one_channel(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey: "I;16" and its byte orders; "I" in some releases
        values = np.asarray(image)
        return values.astype(np.uint16) if values.dtype.itemsize == 2 else values.astype(np.int32)
    return np.asarray(image.convert("L"))
