import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.training.augmentation import draw_shifts, shift_images


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 4), st.integers(1, 6), st.integers(1, 6), st.integers(0, 7), st.integers(0, 10**6))
def test_each_image_is_moved_by_its_own_shift_with_the_edge_repeated(n, height, width, most, seed):
    rng = np.random.default_rng(seed)
    images, shifts = rng.integers(0, 256, (n, height, width), np.uint8), draw_shifts(n, most, rng)
    moved = shift_images(images, shifts)
    assert moved.dtype == np.uint8
    for image, one, (down, right) in zip(images, moved, shifts, strict=True):
        for y in range(height):
            for x in range(width):
                source = image[np.clip(y - down, 0, height - 1), np.clip(x - right, 0, width - 1)]
                assert one[y, x] == source


def test_every_shift_is_drawn_alike_and_both_directions_apart():
    shifts = draw_shifts(9000, 1, np.random.default_rng(0))
    assert shifts.shape == (9000, 2)

    def z(shifts):
        counts = np.bincount((shifts[:, 0] + 1) * 3 + shifts[:, 1] + 1, minlength=9)
        return np.abs((counts - 1000) / np.sqrt(9000 * (1 / 9) * (8 / 9))).max()

    assert z(shifts) < 5
    assert z(np.repeat(shifts[:, :1], 2, axis=1)) > 5  # down and right always the same
    assert z(np.repeat(shifts[:1], 9000, axis=0)) > 5  # all images alike


def test_no_shift_leaves_the_images_as_they_are():
    images = np.zeros((3, 4, 4), np.uint8)
    assert shift_images(images, draw_shifts(3, 0, np.random.default_rng(0))) is images
