import numpy as np
import pytest
import torch

from dpcxr_core.config import UserError
from dpcxr_core.data.images import InputTransform, moved, resize_batch, to_input

BATCH = np.random.default_rng(0).integers(0, 256, (5, 12, 10), dtype=np.uint8)
PER_IMAGE = InputTransform(mode="per_image")
FIXED = InputTransform(mode="fixed", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def test_to_input_per_image_agrees_with_one_image_at_a_time():
    found = to_input(BATCH, InputTransform(mode="per_image", in_chans=3))
    assert found.shape == (5, 3, 12, 10)
    assert found.dtype == torch.float32
    for image, one in zip(BATCH, found.numpy(), strict=True):
        grey = image.astype(float)
        expected = (grey - grey.mean()) / (grey.std() + 8)
        np.testing.assert_allclose(one, np.stack([expected] * 3), atol=1e-5)  # float32 of values up to 3


def test_to_input_per_image_sees_one_image_at_a_time():
    transform = InputTransform(mode="per_image", in_chans=1)
    brightened = BATCH.copy()
    brightened[1:] = 255
    torch.testing.assert_close(to_input(BATCH, transform)[0], to_input(brightened, transform)[0], rtol=0, atol=0)
    assert (to_input(brightened, transform)[1:] == 0).all()  # a blank picture carries nothing


def test_to_input_fixed_uses_each_channels_mean_and_std():
    found = to_input(BATCH, FIXED).numpy()
    for channel, (mean, std) in enumerate(zip(FIXED.mean, FIXED.std, strict=True)):
        np.testing.assert_allclose(found[:, channel], (BATCH / 255 - mean) / std, atol=1e-5)


def test_to_input_takes_an_empty_batch():
    assert to_input(BATCH[:0], InputTransform(mode="per_image")).shape == (0, 3, 12, 10)


@pytest.mark.parametrize("wrong", [BATCH / 255, BATCH[0], BATCH.astype(np.float32)])
def test_to_input_refuses_a_range_it_would_have_to_guess(wrong):
    with pytest.raises(ValueError, match=r"must be \(n, height, width\) uint8"):
        to_input(wrong, InputTransform(mode="per_image"))


@pytest.mark.parametrize(
    "choice",
    [
        {"mode": "imagenet"},
        {"mode": "fixed", "mean": (0.5,), "std": (0.5,), "in_chans": 3},
        {"mode": "fixed", "mean": (0.5,), "std": (0.0,), "in_chans": 1},
        {"mode": "per_image", "mean": (0.5,), "std": (0.5,), "in_chans": 1},
        {"mode": "per_image", "in_chans": 2},
    ],
)
def test_input_transform_refuses_choices_that_do_not_fit(choice):
    with pytest.raises(UserError, match="got"):
        InputTransform(**choice)


def test_resize_batch_keeps_means_and_averages_when_it_shrinks():
    rows = np.repeat(np.arange(0, 200, 10, dtype=np.uint8), 2)
    ramp = np.tile(rows, (3, 40, 1))
    small = resize_batch(ramp, 20)
    assert small.shape == (3, 20, 20)
    assert small.dtype == np.uint8
    np.testing.assert_allclose(small[0, 10, 2:-2], rows[::2][2:-2], atol=1)  # rounding
    noise = np.random.default_rng(0).integers(0, 256, (1, 128, 128), dtype=np.uint8)
    assert resize_batch(noise, 16).std() < 0.3 * noise[:, ::8, ::8].std()  # taking every eighth pixel does not
    np.testing.assert_array_equal(resize_batch(noise, 128), noise)
    assert resize_batch(noise[:0], 16).shape == (0, 16, 16)


@pytest.mark.parametrize("transform", [PER_IMAGE, FIXED], ids=["per_image", "fixed"])
def test_input_is_computed_where_it_is_wanted(transform):
    elsewhere = to_input(BATCH, transform, torch.device("meta"))
    assert elsewhere.device.type == "meta"
    assert elsewhere.shape == to_input(BATCH, transform).shape


def test_tensors_go_to_a_gpu_from_pinned_memory_without_waiting(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: calls.append("pinned") or tensor)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *where, **how: calls.append((*where, how)) or tensor)
    for place in ("cuda", "cpu"):
        moved(torch.zeros(2), torch.device(place))
    assert calls == ["pinned", (torch.device("cuda"), {"non_blocking": True}), (torch.device("cpu"), {})]
