import numpy as np
import pytest
import torch
from torch import nn

from dpcxr_core.training.averaging import decay_at, start_average, update_average, use_average


def _net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    net[2].weight.requires_grad_(False)
    return net


def _change(net: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.fill_(value)


def test_average_is_the_weighted_sum_that_its_definition_gives():
    net, decay, values = _net(), 0.35, [1.0, -2.0, 5.0, 0.25, 7.0]
    first = net[0].weight.detach().clone().double()
    average = start_average(net)
    for step, value in enumerate(values):
        _change(net, value)
        update_average(average, net, decay=decay, step=step)
    decays = [min(decay, (1 + step) / (10 + step)) for step in range(5)]
    assert decays[1] < decay == decays[-1]
    # each weight counts with its own share, shrunk by every later decay
    shares = [(1 - decays[step]) * np.prod(decays[step + 1 :]) for step in range(5)]
    expected = np.prod(decays) * first + sum(share * value for share, value in zip(shares, values, strict=True))
    torch.testing.assert_close(average["0.weight"].double(), expected, rtol=1e-6, atol=1e-6)


def test_decay_grows_from_a_tenth_to_its_limit():
    decays = [decay_at(step, 0.99) for step in range(2000)]
    assert decays[0] == 0.1
    assert all(earlier <= later for earlier, later in zip(decays, decays[1:], strict=False))
    assert decays[-1] == max(decays) == 0.99


def test_average_keeps_small_changes_of_weights_in_low_precision():
    net = nn.Linear(2, 2).to(torch.bfloat16)
    average = start_average(net)
    assert {value.dtype for value in average.values()} == {torch.float32}
    before = average["weight"].clone()
    with torch.no_grad():
        net.weight.mul_(1.01)
    update_average(average, net, decay=0.999, step=10**6)
    assert not torch.equal(average["weight"], before)


def test_average_is_a_copy_and_replaces_the_trainable_parameters_only():
    net = _net()
    average = start_average(net)
    kept = {name: value.clone() for name, value in average.items()}
    assert set(average) == {name for name, p in net.named_parameters() if p.requires_grad}
    _change(net, 3.0)
    net[1].running_mean.fill_(4.0)
    frozen = net[2].weight.clone()
    for name, value in average.items():
        assert torch.equal(value, kept[name])
    use_average(average, net)
    for name, value in kept.items():
        assert torch.equal(net.get_parameter(name), value)
        assert net.get_parameter(name).requires_grad
    assert (net[1].running_mean == 4.0).all()
    assert torch.equal(net[2].weight, frozen)


@pytest.mark.parametrize("step", [0, 5])
def test_average_leaves_the_weights_alone(step):
    net = _net()
    average = start_average(net)
    _change(net, 1.5)
    update_average(average, net, decay=0.9, step=step)
    assert (net[0].weight == 1.5).all()
