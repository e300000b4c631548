import numpy as np

from dpcxr_core.auditing.random_images import random_images


def test_images_are_noise_that_repeats_with_its_seed():
    images, labels = random_images(200, 16, seed=3)
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((200, 16, 16), np.uint8, (200, 5), np.float32)
    z_mean = (images.mean() - 127.5) / (73.9 / np.sqrt(images.size))
    assert abs(z_mean) < 5
    assert abs(labels.mean() - 0.5) * 2 * np.sqrt(labels.size) < 5
    again, _ = random_images(200, 16, seed=3)
    other, _ = random_images(200, 16, seed=4)
    np.testing.assert_array_equal(images, again)
    assert not np.array_equal(images, other)
