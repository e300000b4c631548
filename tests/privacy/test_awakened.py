import copy

import pytest
import torch
from timm.models.convnext import ConvNeXt
from torch import nn
from torchvision.models.convnext import CNBlock

from dpcxr_core.privacy.awakened import awakened


def _constant(parameter: torch.Tensor) -> bool:
    return bool((parameter == parameter.flatten()[0]).all())


def test_no_parameter_stays_constant_and_the_rest_is_as_it_was(small_net):
    nn.init.zeros_(small_net.head.fc.weight)
    before = copy.deepcopy(small_net.state_dict())
    state = torch.random.get_rng_state()
    woken, again, other = (awakened(small_net, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    for (name, new), old in zip(woken.named_parameters(), small_net.parameters(), strict=True):
        assert not _constant(new), name
        assert torch.equal(new, old) != _constant(old)
    torch.testing.assert_close(small_net.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(woken.head.fc.weight, again.head.fc.weight)
    assert not torch.equal(woken.head.fc.weight, other.head.fc.weight)


@pytest.mark.parametrize(
    ("block", "name"),
    [
        (ConvNeXt(in_chans=1, num_classes=5, dims=(8,) * 4, depths=(1,) * 4), "stages.0.blocks.0.gamma"),
        (CNBlock(64, layer_scale=1e-6, stochastic_depth_prob=0.0), "layer_scale"),
    ],
    ids=["timm", "torchvision"],
)
def test_layer_scales_are_far_from_zero_in_both_libraries(block, name):
    assert awakened(block, seed=0).get_parameter(name).mean().item() == pytest.approx(0.5, abs=0.2)
    assert block.get_parameter(name).max().item() < 1e-5


def test_network_has_no_chance_left():
    net = ConvNeXt(in_chans=1, num_classes=5, dims=(8,) * 4, depths=(2,) * 4, drop_rate=0.5, drop_path_rate=0.5)
    image = torch.randn(1, 1, 64, 64)
    woken = awakened(net, seed=0)
    assert woken.training
    assert torch.equal(woken(image), woken(image))
    woken.train()
    assert not torch.equal(woken(image), woken(image))
