import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit

from dpcxr_core.config import UserError
from dpcxr_core.data.pictures.files import decode_picture
from dpcxr_core.data.pictures.picture import Picture, UnreadableImageError, grey_picture
from dpcxr_core.data.pictures.recipes import RECIPES, _counts, _window, as_published, corrected, equalised, recipe_for
from tests.data.pictures.conftest import JPEG_LOSS, LOSSLESS, chest, dicom_bytes, picture_bytes

GREY = chest((50, 40))


def _raster(mode: str, deep: bool = False):
    def write(grey: np.ndarray) -> bytes:
        image = Image.fromarray(grey.astype(np.uint16) * 257 if deep else grey)
        return picture_bytes(image if deep else image.convert(mode))

    return write


def _dicom(bits: int, syntax: str, inverted: bool, signed: bool = False, slope: float | None = None):
    def write(grey: np.ndarray) -> bytes:
        values = grey.astype(np.uint16) * {8: 1, 12: 16, 16: 257}[bits]  # 12 bits: up to 4080 of 4095
        top = values.max()
        bright_is_small = inverted != (slope is not None and slope < 0)
        values = top - values if bright_is_small else values
        values = values.astype(np.uint8 if bits == 8 else np.uint16)
        if signed:
            values = (values.astype(np.int32) - 2 ** (bits - 1)).astype(np.int16)
        elements = {"PhotometricInterpretation": "MONOCHROME1" if inverted else "MONOCHROME2"}
        if slope is not None:
            elements |= {"RescaleSlope": slope, "RescaleIntercept": 7}
        return dicom_bytes(values, syntax=LOSSLESS[syntax], bits=0 if signed else bits, **elements)

    return write


WAYS = {f"PNG {mode}": _raster(mode) for mode in ("RGB", "RGBA", "LA", "P")} | {"PNG 16": _raster("", deep=True)}
for _bits in (8, 12, 16):
    for _inverted in (False, True):
        for _syntax in LOSSLESS:
            WAYS[f"DICOM {_bits} {_syntax}{' inverted' * _inverted}"] = _dicom(_bits, _syntax, _inverted)
        WAYS[f"DICOM {_bits} signed{' inverted' * _inverted}"] = _dicom(_bits, "explicit", _inverted, signed=True)
        WAYS[f"DICOM {_bits} slope{' inverted' * _inverted}"] = _dicom(_bits, "RLE", _inverted, slope=2.0)
        WAYS[f"DICOM {_bits} turned{' inverted' * _inverted}"] = _dicom(_bits, "explicit", _inverted, slope=-0.5)


@pytest.mark.parametrize("way", WAYS)
@settings(derandomize=True, deadline=None, max_examples=3)
@given(
    shape=st.tuples(st.integers(32, 80), st.integers(32, 80)),  # openjpeg writes none below 32
    size=st.integers(8, 48),
    seed=st.integers(0, 1000),
)
def test_inversion_bit_depth_and_container_do_not_change_the_result(way, shape, size, seed):
    grey = chest(shape, seed)
    expected = corrected(decode_picture(picture_bytes(Image.fromarray(grey))), size)
    found = corrected(decode_picture(WAYS[way](grey)), size)
    # the same numbers up to one straight line, so only float32 rounding is left: at most the next level
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("bits", [8, 12])
def test_cutting_bits_off_changes_two_levels_at_most(bits):
    deep = np.rint(np.linspace(0, 65535, 60 * 60)).astype(np.uint16).reshape(60, 60)
    cut = (deep >> (16 - bits)).astype(np.uint8 if bits == 8 else np.uint16)
    change = corrected(grey_picture(deep), 30).astype(int) - corrected(grey_picture(cut), 30)
    assert np.abs(change).max() <= 2  # half a level of 8 bits at either end, and the rounding


@pytest.mark.parametrize("write", ["file", "DICOM"])
def test_a_jpeg_changes_the_result_by_its_loss_only(write):
    grey = chest((200, 160))
    jpeg = picture_bytes(Image.fromarray(grey), "JPEG", quality=95)
    content = jpeg if write == "file" else dicom_bytes(grey, syntax=JPEGBaseline8Bit)
    change = corrected(decode_picture(content), 100).astype(int) - corrected(grey_picture(grey), 100)
    assert np.abs(change).max() <= JPEG_LOSS
    assert np.abs(change).mean() < 0.5  # the loss of four pixels is averaged for each of these; measured: 0.2


def test_a_reader_that_forgets_the_inversion_is_caught():
    content = _dicom(12, "RLE", inverted=True)(GREY)
    picture = decode_picture(content)
    expected, forgetful = corrected(grey_picture(GREY), 40), corrected(grey_picture(picture.stored), 40)
    assert np.abs(corrected(picture, 40).astype(int) - expected).max() <= 1  # float32 rounding, as above
    assert np.abs(forgetful.astype(int) - expected).max() > 200  # black and white change places, which is 255


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from(["uint8", "uint16", "int16"]),
    n=st.integers(1, 3000),
    kind=st.sampled_from(["shown", "inverted", "shuffled"]),
)
def test_the_window_is_that_of_numpy(seed, dtype, n, kind):
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    stored = rng.integers(limits.min, limits.max, (1, n), dtype=dtype, endpoint=True)
    lowest = int(stored.min())
    table = np.arange(lowest, int(stored.max()) + 1, dtype=float)
    table = {"shown": table, "inverted": -table, "shuffled": rng.permutation(table)}[kind]
    expected = np.percentile(table[stored.astype(int) - lowest], (0.5, 99.5))
    found = _window(table, _counts(stored, lowest, len(table)))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)  # rounding of float64


def test_corrected_spreads_a_sixteen_bit_ramp_over_eight_bits():
    ramp = grey_picture(np.tile(np.linspace(1000, 4000, 256).astype(np.uint16), (256, 1)))
    assert len(np.unique(corrected(ramp, 256))) >= 200
    assert len(np.unique(as_published(ramp, 256))) < 20  # the upper 8 bits of 1000 to 4000 hold 13 values


def test_corrected_is_not_ruled_by_a_burnt_in_letter():
    picture = np.random.default_rng(0).integers(1000, 2000, (100, 100)).astype(np.uint16)
    lettered = picture.copy()
    lettered[:4, :4] = 65535
    plain, found = (corrected(grey_picture(values), 100).astype(int) for values in (picture, lettered))
    assert np.abs(found - plain)[10:, 10:].max() <= 3  # the upper percentile moves a little
    low, high = lettered.min(), lettered.max()
    by_range = ((lettered - low) * (255 / (high - low))).astype(np.uint8)
    assert by_range[10:, 10:].max() < 10  # the mistake: minimum to maximum leaves the chest black


@pytest.mark.parametrize(("shape", "rows", "columns"), [((100, 50), 20, 10), ((50, 100), 10, 20), ((80, 80), 20, 20)])
def test_corrected_keeps_the_aspect_and_pads_both_sides(shape, rows, columns):
    padded = corrected(_bright(shape), 20)
    filled = np.argwhere(padded > 0)
    assert padded.shape == (20, 20)
    assert tuple(np.ptp(filled, axis=0) + 1) == (rows, columns)
    np.testing.assert_array_equal(padded, padded[::-1, ::-1])


def _bright(shape: tuple[int, int]) -> Picture:
    """A picture whose middle is dark and whose border is bright, the same from every side."""
    values = np.full(shape, 255, dtype=np.uint8)
    values[shape[0] // 3 : -(shape[0] // 3), shape[1] // 3 : -(shape[1] // 3)] = 5
    return grey_picture(values)


def test_corrected_filters_fine_texture_that_the_published_recipe_keeps():
    noise = grey_picture(np.random.default_rng(0).normal(128, 30, (512, 512)).clip(0, 255).astype(np.uint8))
    # 64 pixels averaged leave 30 / 8 levels, and the window (5.15 deviations, 155 levels) makes 6 of them
    assert corrected(noise, 64).std() < 8
    assert as_published(noise, 64).std() > 60  # aliased, then spread evenly over the whole range: 255 / sqrt(12) = 74


@pytest.mark.parametrize("value", [0, 77, 255, 7777])
def test_a_picture_of_one_value_is_refused_as_blank(value):
    blank = grey_picture(np.full((30, 30), value, dtype=np.uint16 if value > 255 else np.uint8))
    for recipe in RECIPES.values():
        with pytest.raises(UnreadableImageError, match="blank: one grey value fills it"):
            recipe.render(blank, 16)


def test_a_picture_of_padding_only_is_refused_as_blank():
    content = dicom_bytes(np.full((20, 20), 9, dtype=np.uint16), PixelPaddingValue=9)
    with pytest.raises(UnreadableImageError, match="blank"):
        corrected(decode_picture(content), 16)


def test_corrected_is_rounded_once():
    ramp = np.linspace(0, 65535, 256 * 256).astype(np.uint16).reshape(256, 256)
    low, high = np.percentile(ramp, (0.5, 99.5))
    exact = np.clip((ramp - low) * (255 / (high - low)), 0, 255)
    # 256 to 256 pixels is no resize; float32 is right to 2e-5 of a level, so ties apart the rounding is exact
    assert np.abs(corrected(grey_picture(ramp), 256) - exact).max() <= 0.5 + 2e-5


def test_as_published_fills_the_range_and_loses_the_aspect():
    image = as_published(grey_picture(GREY), 32)
    assert image.shape == (32, 32)
    assert (image.min(), image.max()) == (0, 255)


def test_as_published_takes_dicom_pixels_as_they_are_and_inverts_last():
    deep = GREY.astype(np.uint16) * 9 + 100
    plain = decode_picture(dicom_bytes(deep, bits=12, WindowCenter=500, WindowWidth=3))
    inverted = decode_picture(dicom_bytes(deep, bits=12, PhotometricInterpretation="MONOCHROME1"))
    no_equalising = recipe_for("as_published", already_equalised=True)
    shown = no_equalising.render(plain, 32)
    assert len(np.unique(shown)) > 100  # of 256; ten if the upper 8 bits were taken
    np.testing.assert_array_equal(no_equalising.render(inverted, 32), 255 - shown)
    np.testing.assert_array_equal(as_published(inverted, 32), equalised(255 - shown))


def test_a_set_that_is_equalised_already_is_not_equalised_again():
    once = recipe_for("as_published", already_equalised=True)
    assert once.steps != RECIPES["as_published"].steps
    picture = grey_picture(GREY)
    np.testing.assert_array_equal(equalised(once.render(picture, 32)), as_published(picture, 32))
    assert (once.render(picture, 32) != as_published(picture, 32)).any()
    assert recipe_for("corrected", already_equalised=True) is RECIPES["corrected"]
    assert recipe_for("as_published") is RECIPES["as_published"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(once)).render(picture, 32), once.render(picture, 32))


def test_a_recipe_that_is_not_there_is_named():
    with pytest.raises(UserError, match="recipe must be one of corrected, as_published; got 'best'"):
        recipe_for("best")


def _reference_equalised(image: np.ndarray) -> np.ndarray:
    values = np.sort(image.ravel())
    least = (values == values[0]).sum()
    at_or_below = [np.searchsorted(values, value, side="right") for value in image.ravel()]
    return np.array([round(255 * (n - least) / (len(values) - least)) for n in at_or_below]).reshape(image.shape)


def test_equalised_agrees_with_counting_pixels_one_by_one():
    image = (np.random.default_rng(1).beta(2, 6, (20, 17)) * 255).astype(np.uint8)
    np.testing.assert_array_equal(equalised(image), _reference_equalised(image))
    flat = np.full((3, 3), 5, dtype=np.uint8)
    np.testing.assert_array_equal(equalised(flat), flat)


def test_recipes_state_different_steps():
    assert RECIPES["corrected"].steps != RECIPES["as_published"].steps
    assert all(recipe.steps["name"] == name for name, recipe in RECIPES.items())


@pytest.mark.sample
def test_both_recipes_render_real_radiographs(sample_data):
    paths = sorted((sample_data / "chestxray14_sample").rglob("*.png"))[:20]
    assert len(paths) == 20
    for path in paths:
        picture = decode_picture(path.read_bytes())
        for recipe in RECIPES.values():
            assert recipe.render(picture, 64).std() > 10  # a grey sheet has 0; measured: 57 to 81
