import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from dpcxr_core.data.pictures.dicom_display import brightness_of
from dpcxr_core.data.pictures.files import decode_picture
from dpcxr_core.data.pictures.picture import UnreadableImageError
from dpcxr_core.data.pictures.recipes import corrected
from tests.data.pictures.conftest import chest, dicom_bytes

VALUES = np.arange(4096)


def _data_set(**elements: object) -> Dataset:
    data_set = Dataset()
    data_set.set_original_encoding(False, True)
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.BitsStored, data_set.PixelRepresentation = 12, 0
    for name, value in elements.items():
        setattr(data_set, name, value)
    return data_set


def _table(entries: list[int], first: int, bits: int, vr: str = "US") -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.add_new("LUTData", vr, np.asarray(entries, "<u2").tobytes() if vr == "OW" else entries)
    return item


TWELVE_BITS = [int(entry) for entry in 4095 * np.linspace(0, 1, 3000) ** 2]
WINDOW = {"WindowCenter": 1500, "WindowWidth": 900}


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"RescaleSlope": 0.5, "RescaleIntercept": -1024},
        WINDOW,
        {"WindowCenter": [1500, 10], "WindowWidth": [900, 3]},  # the first is the one to show
        {**WINDOW, "VOILUTFunction": "LINEAR_EXACT"},
        {**WINDOW, "VOILUTFunction": "SIGMOID"},
        {"RescaleSlope": 2.0, "RescaleIntercept": -1024, "WindowCenter": 500.5, "WindowWidth": 1200},
        {"VOILUTSequence": [_table(TWELVE_BITS, 100, 12)]},
        {"VOILUTSequence": [_table(TWELVE_BITS, 100, 12, "OW")], **WINDOW},  # the table goes before the window
        {"ModalityLUTSequence": [_table(TWELVE_BITS, 0, 16)]},
        {"ModalityLUTSequence": [_table(TWELVE_BITS, 50, 16)], **WINDOW},
    ],
    ids=[
        "none",
        "slope",
        "window",
        "windows",
        "exact",
        "sigmoid",
        "both",
        "voi",
        "voi first",
        "modality",
        "modality, window",
    ],
)
def test_brightness_agrees_with_pydicom_up_to_its_unit(elements):
    data_set = _data_set(**elements)
    expected = apply_voi_lut(apply_modality_lut(VALUES, data_set), data_set, prefer_lut=True).astype(float)
    found = brightness_of(VALUES, data_set)
    for shown in (expected, found):
        shown -= shown.min()
        shown /= shown.max()
    np.testing.assert_allclose(found, expected, atol=1e-9)  # rounding of float64


def test_an_inverted_picture_is_the_negative_of_the_other():
    plain = brightness_of(VALUES, _data_set(**WINDOW))
    inverted = brightness_of(VALUES, _data_set(**WINDOW, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(inverted, -plain)


def test_a_window_after_a_negative_slope_does_not_turn_the_picture_over():
    data_set = _data_set(RescaleSlope=-1.0, RescaleIntercept=4095.0, WindowCenter=2048, WindowWidth=4096)
    assert (np.diff(brightness_of(VALUES, data_set)) <= 0).all()  # the slope says: small is bright
    by_pydicom = apply_voi_lut(apply_modality_lut(VALUES, data_set), data_set)
    assert (np.diff(by_pydicom) >= 0).all()  # the reason not to use it


def test_a_table_of_eight_bit_entries_may_have_thousands_of_them():
    entries = [row // 16 for row in range(4096)]
    data_set = _data_set(VOILUTSequence=[_table(entries, 0, 8)])
    np.testing.assert_array_equal(brightness_of(VALUES, data_set), entries)
    assert apply_voi_lut(VALUES, data_set).max() < 16  # pydicom wraps around at 256 entries


def test_a_table_of_packed_bytes_is_read():
    item = Dataset()
    item.LUTDescriptor = [256, 0, 8]
    item.add_new("LUTData", "OW", bytes(range(255, -1, -1)))
    np.testing.assert_array_equal(
        brightness_of(np.arange(256), _data_set(VOILUTSequence=[item])), np.arange(255, -1, -1)
    )


def test_a_big_endian_table_is_read_in_its_order():
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.add_new("LUTData", "OW", (VALUES * 16).astype(">u2").tobytes())
    data_set = _data_set(VOILUTSequence=[item])
    data_set.set_original_encoding(False, False)
    np.testing.assert_array_equal(brightness_of(VALUES, data_set), VALUES * 16)


def test_a_window_of_width_one_is_a_step():
    shown = brightness_of(VALUES, _data_set(WindowCenter=100, WindowWidth=1))
    np.testing.assert_array_equal(shown, VALUES > 99.5)


def test_padding_is_no_brightness():
    shown = brightness_of(VALUES, _data_set(PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(np.isnan(shown), VALUES == 0)
    ranged = brightness_of(VALUES, _data_set(PixelPaddingValue=4095, PixelPaddingRangeLimit=4000))
    np.testing.assert_array_equal(np.isnan(ranged), VALUES >= 4000)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_sets_no_window_and_is_black(photometric):
    inside = chest((40, 40)).astype(np.int16) + 1000
    framed = np.full((60, 40), -2000, dtype=np.int16)
    framed[10:50] = inside
    elements = {"PhotometricInterpretation": photometric}
    padded = corrected(decode_picture(dicom_bytes(framed, PixelPaddingValue=-2000, **elements)), 60)
    alone = corrected(decode_picture(dicom_bytes(inside, **elements)), 40)
    assert (padded[:10] == 0).all()
    np.testing.assert_array_equal(padded[10:50, 10:50], alone)
    careless = corrected(decode_picture(dicom_bytes(framed, **elements)), 60)
    assert np.ptp(careless[10:50, 10:50].astype(int)) < 40 < np.ptp(alone.astype(int))


def test_a_colour_picture_is_shown_as_it_is():
    data_set = _data_set(PhotometricInterpretation="RGB", **WINDOW)
    np.testing.assert_array_equal(brightness_of(VALUES, data_set), VALUES)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"WindowCenter": 5, "WindowWidth": 0}, "window of width 0"),
        ({"WindowCenter": 5, "WindowWidth": 0.5}, "window of width 0.5"),
        ({"WindowCenter": 5, "WindowWidth": -3, "VOILUTFunction": "SIGMOID"}, "window of width -3"),
        ({**WINDOW, "VOILUTFunction": "LOG"}, "VOI LUT function is unknown"),
        ({"RescaleSlope": 0.0, "RescaleIntercept": 1.0}, "RescaleSlope is 0"),
    ],
)
def test_what_shows_nothing_is_refused(elements, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        brightness_of(VALUES, _data_set(**elements))


def test_a_table_that_is_shorter_than_it_says_is_refused():
    item = _table(TWELVE_BITS, 0, 12)
    item.LUTDescriptor = [4096, 0, 12]
    with pytest.raises(UnreadableImageError, match="a lookup table of 3000 entries says it has 4096"):
        brightness_of(VALUES, _data_set(VOILUTSequence=[item]))


def test_a_number_that_is_none_is_refused(monkeypatch):
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    data_set = _data_set(RescaleIntercept=0.0)
    data_set.RescaleSlope = float("nan")
    with pytest.raises(UnreadableImageError, match="RescaleSlope is nan"):
        brightness_of(VALUES, data_set)


def test_one_half_of_a_pair_is_no_pair():
    for elements in ({"RescaleSlope": 2.0}, {"WindowCenter": 5}, {"WindowWidth": ""}):
        np.testing.assert_array_equal(brightness_of(VALUES, _data_set(**elements)), VALUES)
