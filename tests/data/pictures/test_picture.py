import numpy as np
import pytest

from dpcxr_core.data.pictures.picture import (
    MAX_PIXELS,
    UnreadableImageError,
    grey_picture,
    refuse_size,
    stored_values,
)


def test_the_brightness_of_a_grey_picture_is_its_stored_value():
    stored = np.array([[7, 9], [4, 9]], dtype=np.uint8)
    picture = grey_picture(stored)
    assert picture.brightness.tolist() == [4, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(picture.brightness[stored - stored.min()], stored)
    assert (picture.inverted, picture.from_dicom) == (False, False)


def test_stored_values_span_at_most_sixteen_bits():
    assert len(stored_values(np.array([[-32768, 32767]]))) == 65536
    with pytest.raises(UnreadableImageError, match="grey values -1 to 65535; the limit is 16 bits"):
        stored_values(np.array([[-1, 65535]]))


def test_refuse_size_takes_the_limit_and_nothing_beyond():
    refuse_size(MAX_PIXELS, 1)
    for width, height in ((MAX_PIXELS + 1, 1), (9_000, 9_000), (0, 5), (5, -5)):
        with pytest.raises(UnreadableImageError, match=f"{width} x {height} pixels"):
            refuse_size(width, height)
