from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
)

from dpcxr_core.data.pictures import dicom
from dpcxr_core.data.pictures.files import decode_picture, read_picture
from dpcxr_core.data.pictures.picture import UnreadableImageError
from tests.data.pictures.conftest import JPEG_LOSS, LOSSLESS, chest, dicom_bytes, lossless_jpeg

GREY = chest()
DEEP = GREY.astype(np.uint16) * 257
BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
@pytest.mark.parametrize(("bits", "values"), [(8, GREY), (12, DEEP >> 4), (16, DEEP)])
def test_a_lossless_syntax_gives_every_stored_value(syntax, bits, values):
    picture = decode_picture(dicom_bytes(values, syntax=syntax, bits=bits))
    np.testing.assert_array_equal(picture.stored, values)
    assert picture.stored.dtype == values.dtype  # in this machine's byte order
    assert picture.from_dicom


@pytest.mark.parametrize("name", ["RLE", "big endian", "implicit", "JPEG 2000 lossless"])
def test_signed_values_stay_signed(name):
    values = (DEEP >> 4).astype(np.int16) - 2000
    np.testing.assert_array_equal(decode_picture(dicom_bytes(values, syntax=LOSSLESS[name])).stored, values)


@pytest.mark.parametrize("kind", ["jpeg_ls_lossless", "jp2klossless", "RLE", "expb"])
def test_files_of_other_writers_give_the_values_of_their_plain_copy(kind):
    plain = read_picture(BUNDLED / "MR_small.dcm").stored
    np.testing.assert_array_equal(read_picture(BUNDLED / f"MR_small_{kind}.dcm").stored, plain)


def test_lossy_syntaxes_stay_within_their_loss():
    baseline = decode_picture(dicom_bytes(GREY, syntax=JPEGBaseline8Bit)).stored
    assert np.abs(baseline.astype(int) - GREY).max() <= JPEG_LOSS
    wavelet = decode_picture(dicom_bytes(DEEP, syntax=JPEG2000)).stored
    assert 0 < np.abs(wavelet.astype(int) - DEEP).max() <= 0.03 * 65535  # compressed four times


def test_colour_becomes_luminance():
    alike = np.repeat(GREY[..., None], 3, axis=2)
    np.testing.assert_array_equal(decode_picture(dicom_bytes(alike)).stored, GREY)
    tinted = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    expected = np.rint(tinted @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(decode_picture(dicom_bytes(tinted)).stored - expected).max() <= 0.5


def test_a_file_without_preamble_is_read_when_it_is_one():
    content = dicom_bytes(DEEP, syntax=ImplicitVRLittleEndian, preamble=False)
    assert content[128:132] != b"DICM"
    np.testing.assert_array_equal(decode_picture(content).stored, DEEP)
    with pytest.raises(UnreadableImageError, match="do not fit its size"):
        decode_picture(dicom_bytes(DEEP, syntax=ImplicitVRLittleEndian, preamble=False, Rows=59))
    with pytest.raises(UnreadableImageError, match="without pixel data"):
        decode_picture(dicom_bytes(DEEP, syntax=ImplicitVRLittleEndian, preamble=False, PixelData=None))
    with pytest.raises(UnreadableImageError, match="without transfer syntax, and its pixel data are compressed"):
        decode_picture(dicom_bytes(DEEP, syntax=JPEG2000Lossless, preamble=False))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"PixelData": None}, "DICOM without pixel data"),
        ({"Rows": None}, "DICOM without Rows"),
        ({"BitsAllocated": None}, "DICOM without BitsAllocated"),
        ({"PhotometricInterpretation": None}, "DICOM without PhotometricInterpretation"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR: not grey"),
        ({"Rows": 0}, "no picture"),
        ({"Rows": 59_999, "Columns": 60_000}, "60000 x 59999 pixels; the limit is"),
        ({"Rows": 61}, "damaged: The number of bytes of pixel data is less than expected"),
        ({"NumberOfFrames": 2}, "2 frames; a radiograph has one"),
        ({"BitsAllocated": 32}, "1 channels of 32 bits"),
        ({"SamplesPerPixel": 4}, "4 channels of 16 bits"),
    ],
)
def test_a_data_set_that_holds_no_radiograph_is_refused(changed, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        decode_picture(dicom_bytes(DEEP, **changed))


def test_the_only_frame_is_taken():
    np.testing.assert_array_equal(decode_picture(dicom_bytes(DEEP, NumberOfFrames=1)).stored, DEEP)


def test_a_transfer_syntax_without_decoder_is_named():
    film = dicom_bytes(DEEP).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    with pytest.raises(UnreadableImageError, match="nothing installed reads its transfer syntax: 1.2.840.10008.1.2.9"):
        decode_picture(film)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1, JPEGBaseline8Bit])
def test_a_compressed_picture_larger_than_its_data_set_is_never_decoded(syntax, monkeypatch):
    monkeypatch.setattr(pydicom.Dataset, "pixel_array", property(lambda _: pytest.fail("decoded")))
    with pytest.raises(UnreadableImageError, match=r"are 30 x 48 x 1 by the data set and not so \(60 x 48 x 1\)"):
        decode_picture(dicom_bytes(GREY, syntax=syntax, Rows=30))
    with pytest.raises(UnreadableImageError, match="not so by its compressed picture"):
        decode_picture(dicom_bytes(GREY, syntax=syntax, PixelData=encapsulate([bytes(64)])))


def test_a_small_deflated_file_that_inflates_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(dicom, "MAX_BYTES", 100_000)
    content = dicom_bytes(GREY, syntax=DeflatedExplicitVRLittleEndian)
    assert decode_picture(content).stored.shape == GREY.shape
    bomb = dicom_bytes(np.zeros((400, 400), dtype=np.uint8), syntax=DeflatedExplicitVRLittleEndian)
    assert len(bomb) < 5_000
    with pytest.raises(UnreadableImageError, match="inflates to more than the limit of 100000 bytes"):
        decode_picture(bomb)


def test_the_lossless_jpegs_of_these_tests_are_lossless_jpegs():
    # read by libjpeg above; here: the header says process 14 (SOF3), 12 bits, the size, one channel
    frame = lossless_jpeg(DEEP >> 4, 12)
    assert frame[:4] == b"\xff\xd8\xff\xc3"
    assert frame[6] == 12
    assert dicom._size_in_frame(frame) == (60, 48, 1)
