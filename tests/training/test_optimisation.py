import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from dpcxr_core.config import OptimisationChoice
from dpcxr_core.training.optimisation import learning_rate_at, loss_per_image, make_optimizer

SGD = OptimisationChoice(optimizer="sgd", learning_rate=0.2, momentum=0.0, warmup_fraction=0.0, schedule="constant")


def test_unknown_labels_add_nothing_to_the_loss():
    logits = torch.tensor([[1.0, -2.0]])
    known = loss_per_image(logits, torch.tensor([[1.0, 0.0]]))
    half = loss_per_image(logits, torch.tensor([[1.0, math.nan]]))
    expected = nn.functional.softplus(torch.tensor([-1.0, -2.0]))
    assert known.item() == pytest.approx(expected.mean().item(), rel=1e-6)
    assert half.item() == pytest.approx(expected[0].item() / 2, rel=1e-6)


def test_loss_of_an_image_depends_on_that_image_alone():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 5), (torch.rand(6, 5) < 0.5).float()
    labels[0, :4] = math.nan
    whole = loss_per_image(logits, labels)
    for image in range(6):
        assert torch.equal(loss_per_image(logits[image : image + 1], labels[image : image + 1])[0], whole[image])


def test_learning_rate_warms_up_then_falls_to_zero():
    choice = replace(SGD, warmup_fraction=0.2, schedule="cosine")
    rates = [learning_rate_at(step, 100, choice) for step in range(100)]
    assert rates[0] < rates[10] < rates[20] == max(rates) == choice.learning_rate
    assert all(later < earlier for earlier, later in zip(rates[20:], rates[21:], strict=False))
    assert rates[-1] < 0.001 * choice.learning_rate
    assert {learning_rate_at(step, 100, SGD) for step in range(100)} == {0.2}


def test_optimizer_updates_trainable_parameters_by_the_rule_that_was_chosen():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    before = layer.weight.detach().clone()
    for choice, expected in (
        (replace(SGD, weight_decay=0.5), before - 0.2 * (3.0 + 0.5 * before)),
        (
            OptimisationChoice(optimizer="adamw", learning_rate=0.2, weight_decay=0.5),
            before - 0.2 * (0.5 * before + 1.0),
        ),
    ):
        with torch.no_grad():
            layer.weight.copy_(before)
        layer.weight.grad = torch.full((2, 2), 3.0)
        optimizer = make_optimizer(layer, choice)
        assert [len(group["params"]) for group in optimizer.param_groups] == [1]
        optimizer.step()
        torch.testing.assert_close(layer.weight.detach(), expected)
