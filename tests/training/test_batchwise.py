import numpy as np
import pytest
import torch
from torch import nn

from dpcxr_core.data.images import to_input
from dpcxr_core.training.architectures import per_image_input
from dpcxr_core.training.batchwise import outputs_of

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 8, 8)).astype(np.uint8)
TRANSFORM = per_image_input("convnext_mini")


@pytest.fixture
def model():
    """Half of its inputs are dropped while it trains."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.LazyLinear(3))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_each_row_is_the_output_of_its_image_at_rest(model, batch_size):
    rows = np.array([4, 0, 6, 6, 1])
    found = outputs_of(model, lambda pictures: 2 * model(pictures), 3, IMAGES, TRANSFORM, batch_size, rows)
    assert not model.training
    expected = 2 * model(to_input(IMAGES[rows], TRANSFORM)).detach()
    # 1e-5: batches of other sizes sum in another order, in float32
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-5)


def test_without_rows_all_images_are_taken_and_without_images_the_columns_stay(model):
    assert outputs_of(model, model, 3, IMAGES, TRANSFORM, 4, None).shape == (7, 3)
    none = outputs_of(model, model, 3, IMAGES[:0], TRANSFORM, 4, None)
    assert (none.shape, none.dtype) == ((0, 3), np.float32)


def test_no_graph_of_gradients_is_kept(model):
    def output(pictures):
        assert not torch.is_grad_enabled()
        return model(pictures)

    outputs_of(model, output, 3, IMAGES, TRANSFORM, 4, None)
