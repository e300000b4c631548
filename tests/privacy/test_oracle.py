import torch
from torch import nn

from dpcxr_core.privacy.oracle import clipped_sum_of, gradients_one_by_one, norm_of


def test_gradients_of_a_linear_layer_are_the_closed_form_and_the_model_is_left_alone():
    model = nn.Linear(3, 1)
    images, targets = torch.randn(4, 3), torch.randn(4, 1)
    found = gradients_one_by_one(model, images, targets, lambda y, t: ((y - t) ** 2).sum(1))
    for image, target, gradient in zip(images.double(), targets.double(), found, strict=True):
        residual = 2 * (image @ model.weight.double().T + model.bias.double() - target)
        torch.testing.assert_close(gradient["weight"], residual.detach()[:, None] * image[None])
        torch.testing.assert_close(gradient["bias"], residual.detach())
    assert model.weight.dtype == torch.float32
    assert model.weight.grad is None


def test_clipped_sum_scales_long_gradients_and_keeps_short_and_zero_ones():
    gradients = [
        {"a": torch.tensor([3.0]).double(), "b": torch.tensor([4.0]).double()},
        {"a": torch.tensor([0.3]).double(), "b": torch.tensor([0.4]).double()},
        {"a": torch.zeros(1).double(), "b": torch.zeros(1).double()},
    ]
    assert norm_of(gradients[0]) == 5.0
    total = clipped_sum_of(gradients, 1.0)
    torch.testing.assert_close(torch.cat([total["a"], total["b"]]), torch.tensor([0.9, 1.2]).double())
