"""DICOM files to pictures: the pixels of one frame, however they are compressed."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

import numpy as np
from pydicom import Dataset, FileDataset, dcmread
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dpcxr_core.data.pictures.dicom_display import brightness_of
from dpcxr_core.data.pictures.picture import MAX_BYTES, Picture, UnreadableImageError, refuse_size, stored_values

_NEEDED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel", "PhotometricInterpretation")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_J2K, _JP2 = b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "  # a bare codestream; one in the boxes of a file
PREAMBLE = 132  # bytes, the last four of them DICM
_LUMINANCE = (299, 587, 114)  # ITU-R BT.601, in thousandths
# A file without preamble begins with its meta group (2) or its first group (8), in either byte order.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")


def looks_like_dicom(content: bytes) -> bool:
    """Whether the bytes begin as a DICOM file does, with or without the preamble."""
    return has_preamble(content) or content[:2] in _FIRST_GROUPS


def has_preamble(content: bytes) -> bool:
    """Whether the bytes begin with the preamble of a DICOM file, which some files lack."""
    return content[PREAMBLE - 4 : PREAMBLE] == b"DICM"


def refuse_inflation(file: BinaryIO) -> None:
    """Nothing, or a refusal: pydicom inflates a deflated data set whole, even where only its header is asked for.

    Args:
        file: At its beginning, where it is again afterwards. Read whole, up to the limit, only if it is deflated.

    Raises:
        UnreadableImageError: It inflates to more than the limit.
    """
    begins = file.read(PREAMBLE + 2)
    at = PREAMBLE if has_preamble(begins) else 0
    if begins[at : at + 2] == b"\x02\x00":
        file.seek(at)
        meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            deflated = file.read(MAX_BYTES + 1)
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            inflater.decompress(deflated, MAX_BYTES)
            if inflater.unconsumed_tail or len(deflated) > MAX_BYTES:
                raise UnreadableImageError(f"inflates to more than the limit of {MAX_BYTES} bytes")
    file.seek(0)


def decode_dicom(content: bytes) -> Picture:
    """The picture in a DICOM file of one frame.

    Raises:
        UnreadableImageError: No pixel data, more than one frame, too large, a palette, a transfer syntax that
            nothing here reads, or a file that contradicts itself; the reason says which.
        Exception: What pydicom and the decoders raise on damaged bytes; of any kind.
    """
    data_set = _data_set(content)
    _refuse_unusable(data_set)
    values = _grey(data_set.pixel_array, data_set)
    inverted = data_set.PhotometricInterpretation == "MONOCHROME1"
    return Picture(values, brightness_of(stored_values(values), data_set), inverted, from_dicom=True)


def _data_set(content: bytes) -> FileDataset:
    file = io.BytesIO(content)
    refuse_inflation(file)
    data_set = dcmread(file, force=not has_preamble(content))
    if "PixelData" not in data_set:
        raise UnreadableImageError("DICOM without pixel data")
    for name in _NEEDED:
        if data_set.get(name) in (None, ""):
            raise UnreadableImageError(f"DICOM without {name}")
    if "TransferSyntaxUID" not in data_set.file_meta:
        _supply_syntax(data_set)
    return data_set


def _supply_syntax(data_set: FileDataset) -> None:
    """The plain syntax by which the data set could be parsed, where its pixels are as long as that asks for."""
    if data_set["PixelData"].is_undefined_length:
        raise UnreadableImageError("DICOM without transfer syntax, and its pixel data are compressed")
    if not 0 <= len(data_set.PixelData) - get_expected_length(data_set) <= 1:  # 1: padded to an even length
        raise UnreadableImageError("DICOM without transfer syntax, and its pixel data do not fit its size")
    implicit, little = data_set.original_encoding
    plain = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    data_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else plain


def _refuse_unusable(data_set: Dataset) -> None:
    refuse_size(int(data_set.Columns), int(data_set.Rows))
    n_frames = int(data_set.get("NumberOfFrames") or 1)
    if n_frames != 1:
        raise UnreadableImageError(f"{n_frames} frames; a radiograph has one")
    if data_set.SamplesPerPixel not in (1, 3) or data_set.BitsAllocated not in (8, 16):
        found = f"{data_set.SamplesPerPixel} channels of {data_set.BitsAllocated} bits"
        raise UnreadableImageError(f"{found}; 1 or 3 channels of 8 or 16 bits can be read")
    if data_set.SamplesPerPixel == 1 and data_set.PhotometricInterpretation not in _GREY:
        palette = data_set.PhotometricInterpretation == "PALETTE COLOR"
        raise UnreadableImageError(f"photometric interpretation {'PALETTE COLOR' if palette else 'unknown'}: not grey")
    syntax = data_set.file_meta.TransferSyntaxUID
    if not _can_be_decoded(syntax):
        raise UnreadableImageError(f"nothing installed reads its transfer syntax: {syntax.name[:64]}")
    if syntax.is_compressed and not syntax.is_deflated and syntax != RLELossless:
        _refuse_contradiction(data_set)


def _can_be_decoded(syntax: UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:  # a film, or no transfer syntax at all
        return False


def _refuse_contradiction(data_set: Dataset) -> None:
    """Nothing, or a refusal: decoders make room for what the compressed picture claims to be."""
    said = (int(data_set.Rows), int(data_set.Columns), int(data_set.SamplesPerPixel))
    found = _size_in_frame(get_frame(data_set.PixelData, 0, number_of_frames=1))
    if found != said:
        raise UnreadableImageError(
            "rows, columns and channels are " + " x ".join(map(str, said)) + " by the data set and "
            "not so" + (" (" + " x ".join(map(str, found)) + ")" if found else "") + " by its compressed picture"
        )


def _size_in_frame(frame: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and channels that a JPEG, JPEG-LS or JPEG 2000 codestream claims; None where it has no header.

    Source:
        ITU-T T.81, B.2.2 (frame header SOF); T.87, C.2.2 (SOF55); T.800, A.5.1 (SIZ).
    """

    def number(at: int, length: int) -> int:
        return int.from_bytes(frame[at : at + length], "big")

    if frame.startswith((_J2K, _JP2)):
        at = frame.index(_J2K)
        columns, rows = (number(at + 8 + i, 4) - number(at + 16 + i, 4) for i in (0, 4))
        return rows, columns, number(at + 40, 2)
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        kind = frame[at + 1]
        if kind == 0xF7 or (0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)):
            return number(at + 5, 2), number(at + 7, 2), frame[at + 9]
        at += 1 if kind == 0xFF else 2 + number(at + 2, 2)
    return None


def _grey(pixels: np.ndarray, data_set: Dataset) -> np.ndarray:
    """One channel of at most 16 bits in this machine's byte order."""
    rows_and_columns = (int(data_set.Rows), int(data_set.Columns))
    if pixels.shape == (*rows_and_columns, 3):
        weighted = np.zeros(rows_and_columns, dtype=np.uint32)
        for channel, weight in enumerate(_LUMINANCE):
            weighted += pixels[..., channel].astype(np.uint32) * np.uint32(weight)
        return ((weighted + 500) // 1000).astype(np.uint16 if pixels.dtype.itemsize > 1 else np.uint8)
    if pixels.shape != rows_and_columns or pixels.dtype.kind not in "iu":
        raise UnreadableImageError(f"pixels of shape {pixels.shape} and kind {pixels.dtype}: no grey picture")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
