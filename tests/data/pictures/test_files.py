import errno
import os
import subprocess
import sys
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dpcxr_core.data.pictures import files
from dpcxr_core.data.pictures.files import decode_picture, read_picture
from dpcxr_core.data.pictures.picture import Picture, UnreadableImageError
from dpcxr_core.data.pictures.recipes import RECIPES
from tests.data.pictures.conftest import (
    DAMAGED_KINDS,
    JPEG_LOSS,
    NEVER_KINDS,
    WHOLE_KINDS,
    chest,
    damaged_files,
    dicom_bytes,
    picture_bytes,
    png_of_size,
)

GREY = chest()
PLAIN = picture_bytes(Image.fromarray(GREY))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_the_stored_grey_values_are_read_from_any_mode(mode):
    picture = decode_picture(picture_bytes(Image.fromarray(GREY).convert(mode)))
    np.testing.assert_array_equal(picture.stored, GREY)
    assert picture.stored.dtype == np.uint8


def test_an_alpha_channel_is_dropped_instead_of_darkening():
    image = Image.fromarray(GREY).convert("RGBA")
    image.putalpha(10)
    np.testing.assert_array_equal(decode_picture(picture_bytes(image)).stored, GREY)


def test_a_palette_with_transparency_is_read_without_a_word():
    image = Image.fromarray(GREY).convert("P")
    image.info["transparency"] = bytes(range(256))
    np.testing.assert_array_equal(decode_picture(picture_bytes(image)).stored, GREY)
    with pytest.warns(UserWarning, match="Transparency"):  # as Pillow does, in every line of a long night
        image.convert("L")


def test_one_bit_is_black_and_white():
    image = Image.fromarray(GREY > 128)
    np.testing.assert_array_equal(decode_picture(picture_bytes(image)).stored, (GREY > 128) * np.uint8(255))


def test_sixteen_bits_are_kept():
    deep = GREY.astype(np.uint16) * 250 + 3
    found = decode_picture(picture_bytes(Image.fromarray(deep))).stored
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, deep)


def test_a_jpeg_is_read_within_its_loss():
    found = decode_picture(picture_bytes(Image.fromarray(GREY), "JPEG", quality=95)).stored
    assert np.abs(found.astype(int) - GREY).max() <= JPEG_LOSS


def test_a_cmyk_jpeg_is_neither_inverted_nor_refused():
    image = Image.fromarray(GREY).convert("RGB").convert("CMYK")
    found = decode_picture(picture_bytes(image, "JPEG", quality=95)).stored
    assert np.abs(found.astype(int) - GREY).max() <= JPEG_LOSS


def test_a_turn_noted_in_the_file_is_made():
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned a quarter to the right
    content = picture_bytes(Image.fromarray(GREY), "JPEG", quality=95, exif=turned)
    assert np.abs(decode_picture(content).stored.astype(int) - np.rot90(GREY, -1)).max() <= JPEG_LOSS


def test_the_content_counts_and_not_the_name(tmp_path):
    (tmp_path / "a.png").write_bytes(picture_bytes(Image.fromarray(GREY), "JPEG"))
    (tmp_path / "a.jpg").write_bytes(dicom_bytes(GREY))
    (tmp_path / "a.dcm").write_bytes(PLAIN)
    assert not read_picture(tmp_path / "a.png").from_dicom
    assert read_picture(tmp_path / "a.jpg").from_dicom
    np.testing.assert_array_equal(read_picture(tmp_path / "a.dcm").stored, GREY)


def _with_long_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 200_000_000, zip=True)
    return picture_bytes(Image.fromarray(GREY), pnginfo=text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (PLAIN[: len(PLAIN) // 2], "^damaged: image file is truncated$"),
        (PLAIN[:20], "^damaged: "),
        (PLAIN[:300] + bytes(200) + PLAIN[500:], "^damaged: "),
        (b"<html>Sign in</html>", "not a PNG, JPEG or DICOM picture"),
        (b"GIF89a" + bytes(50), "not a PNG, JPEG or DICOM picture"),
        (png_of_size(9_000), "9000 x 9000 pixels; the limit is"),
        (png_of_size(10_000), "10000 x 10000 pixels; the limit is"),
        (png_of_size(60_000), "more pixels than any radiograph has"),
        (_with_long_text(), "damaged: .*[Tt]oo large"),
    ],
    ids=["empty", "half", "stub", "zeroed", "html", "gif", "large", "larger", "bomb", "text"],
)
def test_what_is_no_whole_picture_is_refused(content, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        decode_picture(content)


def test_a_reason_names_no_number_and_quotes_nothing():
    # a table groups by reason, and what a file holds (a name, a date) does not belong in it
    for said, short in {
        "image file is truncated (7 bytes not processed)": "image file is truncated",
        "invalid literal for int() with base 10: 'DOE^JANE'": "invalid literal for int",
        "cannot identify image file <_io.BytesIO object at 0x7f7a>": "cannot identify image file",
        "Error -5 while decompressing data": "Error while decompressing data",
        "": "ValueError",
    }.items():
        assert files._in_short(ValueError(said)) == short


def test_names_that_lead_to_no_file_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(PLAIN)
    for name, reason in {
        "absent.png": "no such file",
        ".": "is a directory",
        "loop": "too many levels of symbolic links",
        "pipe": "not a file",  # and is not waited on
        "file/a.png": "not a directory",
        "a" * 300: "file name too long",
        "a\0.png": "no possible name",
        "a\ud800.png": "no possible name",
    }.items():
        with pytest.raises(UnreadableImageError, match=reason):
            read_picture(tmp_path / name)


def test_a_file_without_permission_is_refused(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "a.png").write_bytes(PLAIN)
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(UnreadableImageError, match="permission denied"):
        read_picture(tmp_path / "a.png")


def test_a_file_too_large_for_memory_is_not_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(50 * 2**30)  # takes no room on the disk
    with pytest.raises(UnreadableImageError, match="53687091200 bytes; the limit is"):
        read_picture(tmp_path / "a.png")


def test_a_failing_disk_is_not_taken_for_a_broken_picture(tmp_path, monkeypatch):
    def fail(path: Path, mode: str) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "a.png").write_bytes(PLAIN)
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match="Input/output error"):
        read_picture(tmp_path / "a.png")


def _outcome(path: Path) -> str:
    """ "picture", the reason of a refusal, or the mistake."""
    warnings.simplefilter("error")
    try:
        picture = read_picture(path)
        assert isinstance(picture, Picture)
        for recipe in RECIPES.values():
            image = recipe.render(picture, 24)
            assert (image.shape, image.dtype) == ((24, 24), np.uint8)
    except UnreadableImageError as error:
        return f"refused: {error}"
    except BaseException as error:  # noqa: BLE001 - what this test is for
        return f"MISTAKE: {error!r}"
    return "picture"


def _outcomes(paths: list[Path]) -> list[str]:
    return [_outcome(path) for path in paths]


def test_a_thousand_damaged_files_give_a_picture_or_a_reason(tmp_path):
    kinds = damaged_files(tmp_path, 1_000, seed=0)
    # in another process: a decoder that crashes ends that process and fails this test, and not all of them
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        outcomes = dict(
            zip(kinds, pool.submit(_outcomes, [tmp_path / name for name in kinds]).result(300), strict=True)
        )
    assert not [outcome for outcome in outcomes.values() if outcome.startswith("MISTAKE")]
    assert {outcomes[name] for name, kind in kinds.items() if kind in WHOLE_KINDS} == {"picture"}
    assert not [kind for name, kind in kinds.items() if kind in NEVER_KINDS and outcomes[name] == "picture"]
    damaged = Counter(outcomes[name] == "picture" for name, kind in kinds.items() if kind in DAMAGED_KINDS)
    assert damaged[True] > 100  # the damage is not so coarse that all of it is found before decoding
    assert damaged[False] > 100
    reasons = {outcome for outcome in outcomes.values() if outcome != "picture"}
    assert 20 <= len(reasons) <= 60  # few enough for a table
    assert all(len("refused: ") < len(reason) < 130 and reason.isprintable() for reason in reasons)


def test_damaged_files_are_the_same_for_the_same_seed(tmp_path):
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    made = [damaged_files(tmp_path / folder, 120, seed) for folder, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert made[0] == made[1] != made[2]
    assert set(made[0].values()) == {*WHOLE_KINDS, *NEVER_KINDS, *DAMAGED_KINDS}
    for name in made[0]:
        if (tmp_path / "a" / name).is_file():
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_reading_pictures_needs_no_torch():
    code = "import sys, dpcxr_core.data.pictures.files, dpcxr_core.data.pictures.recipes; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "pydicom" in loaded
    assert "torch" not in loaded
