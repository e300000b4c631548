"""Picture files for tests, made here: DICOM in every coding, and a thousand damaged files of every kind."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

LOSSLESS = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG 2000 lossless": JPEG2000Lossless,
}
# Quality 95 divides fine detail by up to 12, which is wrong by up to 6 in each of several waves; measured: 8 in all.
JPEG_LOSS = 12


def chest(shape: tuple[int, int] = (60, 48), seed: int = 0) -> np.ndarray:
    """A smooth grey picture of the full 8 bits, with a little noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.normal(size=(5, 4)).astype(np.float32))
    smooth = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC)) + rng.normal(scale=0.05, size=shape)
    return np.rint((smooth - smooth.min()) * (255 / np.ptp(smooth))).astype(np.uint8)


def picture_bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of ``image`` as a file of that kind."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def dicom_bytes(
    values: np.ndarray,
    *,
    syntax: str = ExplicitVRLittleEndian,
    bits: int = 0,
    preamble: bool = True,
    **elements: object,
) -> bytes:
    """A DICOM file of one radiograph; ``elements`` are set, or taken away where None."""
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data_set.SOPInstanceUID = "2.25.1"
    data_set.Rows, data_set.Columns = values.shape[:2]
    data_set.SamplesPerPixel = values.shape[2] if values.ndim == 3 else 1
    if values.ndim == 3:
        data_set.PlanarConfiguration = 0
    data_set.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    data_set.BitsAllocated = 8 * values.dtype.itemsize
    data_set.BitsStored = bits or data_set.BitsAllocated
    data_set.HighBit = data_set.BitsStored - 1
    data_set.PixelRepresentation = int(values.dtype.kind == "i")
    _put_pixels(data_set, values, syntax)
    for name, value in elements.items():
        if value is None:
            delattr(data_set, name)
        else:
            setattr(data_set, name, value)
    content = io.BytesIO()
    if preamble:
        data_set.save_as(content, enforce_file_format=True)
    else:
        meta = data_set.file_meta
        del data_set.file_meta
        data_set.save_as(content, implicit_vr=meta.TransferSyntaxUID.is_implicit_VR, little_endian=True)
    return content.getvalue()


def _put_pixels(data_set: Dataset, values: np.ndarray, syntax: str) -> None:
    data_set.file_meta.TransferSyntaxUID = syntax
    frame = {
        JPEGBaseline8Bit: lambda: picture_bytes(Image.fromarray(values), "JPEG", quality=95),
        JPEGLosslessSV1: lambda: lossless_jpeg(values, data_set.BitsStored),
    }.get(syntax)
    if frame:
        data_set.PixelData = encapsulate([frame()])
        data_set["PixelData"].VR = "OB"
        return
    byte_order = ">" if syntax == ExplicitVRBigEndian else "<"
    data_set.PixelData = _even(values.astype(values.dtype.newbyteorder(byte_order)).tobytes())
    data_set["PixelData"].VR = "OB" if values.dtype.itemsize == 1 else "OW"
    if syntax in (RLELossless, JPEG2000Lossless, JPEG2000):
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data_set.compress(syntax, generate_instance_uid=False, **({"j2k_cr": [4]} if syntax == JPEG2000 else {}))


def _even(content: bytes) -> bytes:
    return content + bytes(len(content) % 2)


def lossless_jpeg(values: np.ndarray, bits: int) -> bytes:
    """A lossless JPEG of unsigned grey values: each pixel's difference to its left neighbour, Huffman-coded.

    Source:
        ITU-T T.81, annex H (process 14, selection value 1), with a table of 17 codes of 5 bits.
    """
    grey = values.astype(np.int64)
    predicted = np.empty_like(grey)
    predicted[:, 1:] = grey[:, :-1]
    predicted[1:, 0] = grey[:-1, 0]
    predicted[0, 0] = 2 ** (bits - 1)
    differences = (grey - predicted + 32768) % 65536 - 32768
    written = "".join(_lossless_code(int(difference)) for difference in differences.ravel())
    written += "1" * (-len(written) % 8)
    scan = int(written, 2).to_bytes(len(written) // 8, "big").replace(b"\xff", b"\xff\x00")
    table = bytes([0, 0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))

    def segment(marker: int, content: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content

    frame = struct.pack(">BHHBBBB", bits, *values.shape, 1, 1, 0x11, 0)
    parts = [segment(0xC3, frame), segment(0xC4, table), segment(0xDA, bytes([1, 1, 0, 1, 0, 0])), scan]
    return _even_jpeg(b"\xff\xd8" + b"".join(parts) + b"\xff\xd9")


def _even_jpeg(content: bytes) -> bytes:
    return content if len(content) % 2 == 0 else content[:-2] + b"\xff\xff\xd9"


def _lossless_code(difference: int) -> str:
    length = 16 if difference == -32768 else abs(difference).bit_length()
    code = f"{length:05b}"
    if length in (0, 16):
        return code
    return code + f"{difference if difference > 0 else difference + 2**length - 1:0{length}b}"


def png_of_size(side: int) -> bytes:
    """A small PNG file whose header says that it is ``side`` by ``side`` pixels."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(bytes(99))) + part(b"IEND", b"")


_GREY = chest()
_DEEP = _GREY.astype(np.uint16) * 257
_COLOUR = Image.fromarray(_GREY).convert("RGB")


def _whole() -> dict[str, bytes]:
    see_through = Image.fromarray(_GREY).convert("P")
    see_through.info["transparency"] = bytes(range(256))
    rgba = _COLOUR.convert("RGBA")
    rgba.putalpha(10)
    return {
        "png": picture_bytes(Image.fromarray(_GREY)),
        "png16": picture_bytes(Image.fromarray(_DEEP)),
        "rgba": picture_bytes(rgba),
        "palette": picture_bytes(see_through),
        "jpeg": picture_bytes(Image.fromarray(_GREY), "JPEG"),
        "cmyk": picture_bytes(_COLOUR.convert("CMYK"), "JPEG"),
        "dicom": dicom_bytes(_DEEP, PhotometricInterpretation="MONOCHROME1"),
        "implicit": dicom_bytes(_DEEP, syntax=ImplicitVRLittleEndian),
        "deflated": dicom_bytes(_DEEP, syntax=DeflatedExplicitVRLittleEndian),
        "rle": dicom_bytes(_DEEP, syntax=RLELossless),
        "j2k": dicom_bytes(_DEEP, syntax=JPEG2000Lossless),
        "jpeg_lossless": dicom_bytes(_DEEP, syntax=JPEGLosslessSV1),
        "jpeg_baseline": dicom_bytes(_GREY, syntax=JPEGBaseline8Bit),
    }


def _never() -> dict[str, bytes]:
    return {
        "empty": b"",
        "zeros": bytes(5000),
        "html": b"<!DOCTYPE html><html>Sign in</html>",
        "text": b"no picture here\n" * 50,
        "gif": picture_bytes(Image.fromarray(_GREY), "GIF"),
        "tiff": picture_bytes(Image.fromarray(_GREY), "TIFF"),
        "png_bomb": png_of_size(60_000),
        "dicom_bomb": dicom_bytes(_DEEP, Rows=60_000, Columns=60_000),
        "j2k_lying": dicom_bytes(_DEEP, syntax=JPEG2000Lossless, Rows=61),
        "dicom_without_pixels": dicom_bytes(_DEEP, PixelData=None),
        "dicom_without_rows": dicom_bytes(_DEEP, Rows=None),
        "dicom_of_frames": dicom_bytes(np.stack([_DEEP] * 3).reshape(-1, 48), Rows=60, NumberOfFrames=3),
        "dicom_of_32_bits": dicom_bytes(_GREY.astype(np.uint32)),
    }


WHOLE_KINDS = tuple(f"whole {kind}" for kind in _whole())
NEVER_KINDS = (*_never(), "directory", "link loop", "dangling link", "pipe")
DAMAGED_KINDS = tuple(f"{damage} {kind}" for kind in _whole() for damage in ("cut", "flipped", "zeroed", "spliced"))


def damaged_files(folder: Path, n: int, seed: int = 0) -> dict[str, str]:
    """Writes ``n`` pictures into ``folder``, most of them damaged, each under a random suffix; name -> kind.

    A kind in ``WHOLE_KINDS`` is a whole picture in an unusual coding or under a wrong suffix; one in ``NEVER_KINDS``
    is no picture; one in ``DAMAGED_KINDS`` had bytes cut, changed or repeated, and a decoder may not notice.
    """
    rng = np.random.default_rng(seed)
    whole, never = _whole(), _never()
    kinds = [*WHOLE_KINDS, *NEVER_KINDS, *DAMAGED_KINDS]
    found = {}
    for row in range(n):
        kind = kinds[row % len(kinds)]
        name = f"{row:04d}{rng.choice(['.png', '.jpg', '.dcm', '.dicom', ''])}"
        found[name] = kind
        special = _SPECIAL.get(kind)
        if special:
            special(folder / name)
        elif kind in never:
            (folder / name).write_bytes(never[kind])
        else:
            damage, _, base = kind.partition(" ")
            (folder / name).write_bytes(_damaged(whole[base], damage, rng))
    return found


_SPECIAL: dict[str, Callable[[Path], object]] = {
    "directory": Path.mkdir,
    "link loop": lambda path: path.symlink_to(path.name),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "pipe": os.mkfifo,
}


def _damaged(content: bytes, damage: str, rng: np.random.Generator) -> bytes:
    at, other = sorted(int(place) for place in rng.integers(1, len(content), 2))
    if damage == "cut":
        return content[:at]
    if damage == "zeroed":
        return content[:at] + bytes(other - at) + content[other:]
    if damage == "spliced":
        return content[:other] + content[at:]
    if damage == "flipped":
        changed = bytearray(content)
        # half of the times in the first part, where the headers are
        end = len(changed) if rng.random() < 0.5 else min(700, len(changed))
        for place in rng.integers(0, end, rng.integers(1, 9)):
            changed[place] ^= int(rng.integers(1, 256))
        return bytes(changed)
    return content
