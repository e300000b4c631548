import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dpcxr_core.data.decode import (
    RECIPES,
    UnreadableImageError,
    as_published,
    corrected,
    equalised,
    read_grey,
)

GREY = np.random.default_rng(0).integers(0, 256, (50, 40), dtype=np.uint8)


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_read_grey_gives_the_stored_grey_values_from_any_mode(tmp_path, mode):
    (tmp_path / "a.png").write_bytes(_png(Image.fromarray(GREY).convert(mode)))
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), GREY)


def test_read_grey_drops_alpha_instead_of_darkening(tmp_path):
    image = Image.fromarray(GREY).convert("RGBA")
    image.putalpha(10)
    (tmp_path / "a.png").write_bytes(_png(image))
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), GREY)


def test_read_grey_keeps_sixteen_bits(tmp_path):
    deep = GREY.astype(np.uint16) * 250 + 3
    (tmp_path / "a.png").write_bytes(_png(Image.fromarray(deep)))
    found = read_grey(tmp_path / "a.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, deep)


def test_read_grey_reads_jpeg_within_its_loss(tmp_path):
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_grey(tmp_path / "a.jpg").astype(int) - smooth).max() <= 6


def _bomb(side: int) -> bytes:
    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(bytes(99))) + part(b"IEND", b"")


PLAIN = _png(Image.fromarray(GREY))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (PLAIN[: len(PLAIN) // 2], "damaged|truncated"),
        (PLAIN[:20], "not a PNG or JPEG|damaged"),
        (PLAIN[:300] + bytes(200) + PLAIN[500:], "damaged"),
        (b"<html>Sign in</html>", "not a PNG or JPEG picture"),
        (b"GIF89a" + bytes(50), "not a PNG or JPEG picture"),
        (_bomb(9_000), "9000 x 9000 pixels; the limit is"),
        (_bomb(10_000), "more than the limit"),
        (_bomb(60_000), "more than the limit"),
    ],
    ids=["empty", "half", "stub", "zeroed", "html", "gif", "large", "warned", "bomb"],
)
def test_read_grey_refuses_what_is_no_whole_picture(tmp_path, content, reason):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason):
        read_grey(tmp_path / "a.png")


def test_read_grey_refuses_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UnreadableImageError, match="no such file"):
        read_grey(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match="is a directory"):
        read_grey(tmp_path)


def test_corrected_spreads_a_sixteen_bit_ramp_over_eight_bits():
    ramp = np.tile(np.linspace(1000, 4000, 256).astype(np.uint16), (256, 1))
    assert len(np.unique(corrected(ramp, 256))) >= 200
    assert len(np.unique(as_published(ramp, 256))) < 20  # the upper 8 bits of 1000 to 4000 hold 13 values


def test_corrected_is_not_ruled_by_a_burnt_in_letter():
    picture = np.random.default_rng(0).integers(1000, 2000, (100, 100)).astype(np.uint16)
    lettered = picture.copy()
    lettered[:4, :4] = 65535
    change = np.abs(corrected(lettered, 100).astype(int) - corrected(picture, 100))[10:, 10:]
    assert change.max() <= 3  # the upper percentile moves a little
    low, high = lettered.min(), lettered.max()
    by_range = ((lettered - low) * (255 / (high - low))).astype(np.uint8)
    assert by_range[10:, 10:].max() < 10  # the mistake: minimum to maximum leaves the chest black


@pytest.mark.parametrize(("shape", "rows", "columns"), [((100, 50), 20, 10), ((50, 100), 10, 20), ((80, 80), 20, 20)])
def test_corrected_keeps_the_aspect_and_pads_both_sides(shape, rows, columns):
    square = corrected(np.full(shape, 200, dtype=np.uint8), 20)
    filled = np.argwhere(square > 0)
    assert square.shape == (20, 20)
    assert tuple(np.ptp(filled, axis=0) + 1) == (rows, columns)
    assert (square[filled[:, 0], filled[:, 1]] == 200).all()
    np.testing.assert_array_equal(square, square[::-1, ::-1])


def test_corrected_filters_fine_texture_that_the_published_recipe_keeps():
    noise = np.random.default_rng(0).normal(128, 30, (512, 512)).clip(0, 255).astype(np.uint8)
    assert corrected(noise, 64).std() < 8
    assert as_published(noise, 64).std() > 60  # aliased, then spread over the whole range


def test_corrected_of_one_value_is_one_value_and_eight_bits_stay():
    assert (corrected(np.full((30, 30), 77, dtype=np.uint8), 16) == 77).all()
    assert (corrected(np.full((30, 30), 7777, dtype=np.uint16), 16) == 0).all()
    np.testing.assert_array_equal(corrected(GREY[:40], 40), GREY[:40])


def test_as_published_fills_the_range_and_loses_the_aspect():
    image = as_published(GREY, 32)
    assert image.shape == (32, 32)
    assert (image.min(), image.max()) == (0, 255)
    assert (as_published(np.full((30, 20), 9, dtype=np.uint8), 16) == 0).all()


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
