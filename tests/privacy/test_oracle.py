import math

import torch
from torch import nn

from dpcxr_core.privacy.oracle import (
    clip_factor,
    clipped_sum_of,
    gradients_of_units,
    gradients_one_by_one,
    norm_of,
)


def _gradient(a: float, b: float) -> dict[str, torch.Tensor]:
    return {"a": torch.tensor([a]).double(), "b": torch.tensor([b]).double()}


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


def test_gradient_of_a_unit_is_that_of_the_sum_of_its_losses():
    model = nn.Linear(3, 2).double()
    images, targets = torch.randn(6, 3).double(), torch.randn(6, 2).double()

    def losses(outputs, targets):
        return (outputs - targets).pow(4).sum(1)

    found = gradients_of_units(gradients_one_by_one(model, images, targets, losses), [1, 3, 2])
    for unit, rows in zip(found, (slice(0, 1), slice(1, 4), slice(4, 6)), strict=True):
        total = losses(model(images[rows]), targets[rows]).sum()
        for part, expected in zip(unit.values(), torch.autograd.grad(total, list(model.parameters())), strict=True):
            torch.testing.assert_close(part, expected)


def test_clipped_sum_scales_long_gradients_and_keeps_short_and_zero_ones():
    gradients = [_gradient(3.0, 4.0), _gradient(0.3, 0.4), _gradient(0.0, 0.0)]
    assert norm_of(gradients[0]) == 5.0
    total = clipped_sum_of(gradients, 1.0)
    torch.testing.assert_close(torch.cat([total["a"], total["b"]]), torch.tensor([0.9, 1.2]).double())


def test_automatic_clipping_scales_every_gradient_and_stays_below_the_clip_norm():
    assert clip_factor(4.99, 2.0, "automatic") == 2.0 / 5.0
    assert clip_factor(0.09, 2.0, "automatic") == 2.0 / (0.09 + 0.01)
    assert clip_factor(0.0, 2.0, "automatic") == 200.0
    assert all(norm * clip_factor(norm, 2.0, "automatic") < 2.0 for norm in (1e-9, 1.0, 1e9))
    total = clipped_sum_of([_gradient(3.0, 4.0), _gradient(0.3, 0.4)], 1.0, "automatic")
    expected = torch.tensor([3.0, 4.0]).double() / 5.01 + torch.tensor([0.3, 0.4]).double() / 0.51
    torch.testing.assert_close(torch.cat([total["a"], total["b"]]), expected)


def test_gradient_that_is_not_finite_counts_as_zero():
    for spoilt in (math.nan, math.inf):
        for clipping in ("flat", "automatic"):
            total = clipped_sum_of([_gradient(spoilt, 1.0), _gradient(0.3, 0.4)], 1.0, clipping)
            alone = clipped_sum_of([_gradient(0.3, 0.4)], 1.0, clipping)
            assert all(torch.equal(total[name], alone[name]) for name in alone)
