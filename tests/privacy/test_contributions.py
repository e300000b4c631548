import pytest
import torch
from torch import nn

from dpcxr_core.privacy.clipping_checks import losses_of
from dpcxr_core.privacy.contributions import climb, contributions, gradient_norms
from dpcxr_core.privacy.oracle import gradients_one_by_one, norm_of


def test_norms_are_those_of_single_images(small_net, batch):
    found = gradient_norms(small_net.eval(), *batch, losses_of)
    expected = [norm_of(each) for each in gradients_one_by_one(small_net, *batch, losses_of)]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
    assert not small_net.training
    assert all(parameter.grad is None for parameter in small_net.parameters())


def test_norms_of_many_images_come_in_their_order(small_net, batch):
    images, targets = (part.repeat(25, *[1] * (part.dim() - 1)) for part in batch)
    found = gradient_norms(small_net, images, targets, losses_of)
    torch.testing.assert_close(found, gradient_norms(small_net, *batch, losses_of).repeat(25), rtol=1e-4, atol=0)


def test_contribution_without_clipping_grows_with_the_image_and_with_it_stays_within_one():
    """A linear layer without bias has a gradient proportional to its input, but for the saturating loss."""
    model = nn.Linear(4, 5, bias=False)
    nn.init.zeros_(model.weight)
    image = torch.tensor([[3.0, 4.0, 0.0, 0.0]])
    table = contributions(model, {"once": image, "ten times": 10 * image}, torch.ones(1, 5), losses_of, 0.5)
    # scores of one half against targets of one: the gradient is -1/2 times the image for each of five outputs
    once = 0.5 * 5**0.5 * 5 / 0.5
    assert table["without_clipping"].tolist() == pytest.approx([once, 10 * once])
    assert table["with_clipping"].tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


def test_gradient_ascent_finds_a_longer_gradient_and_never_a_shorter_one(small_net, batch):
    image, target = batch[0][:1], batch[1][:1]
    small_net.eval()
    before, after = (
        float(gradient_norms(small_net, each, target, losses_of))
        for each in (image, climb(small_net, image, target, losses_of, n_steps=8))
    )
    assert after > 1.2 * before
    assert torch.equal(climb(small_net, image, target, losses_of, n_steps=1), image)
