import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.training import fast_depthwise as module_under_test
from dpcxr_core.training.architectures import build_architecture
from dpcxr_core.training.fast_depthwise import fast_depthwise

sizes = st.integers(1, 9)


def _gradients(model, x):
    """Output, input gradient, and weight gradients by name, of a loss that weighs every output differently."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    model.zero_grad(set_to_none=True)
    y = model(x)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum().backward()
    return y, x.grad, {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    n=st.integers(1, 4),
    channels=st.integers(1, 5),
    height=sizes,
    width=sizes,
    kernel=st.sampled_from([1, 2, 3, 5, 7]),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
    channels_last=st.booleans(),
)
def test_gradients_equal_those_of_torch(
    n, channels, height, width, kernel, stride, padding, dilation, bias, channels_last
):
    extent = (kernel - 1) * dilation + 1
    padding = max(padding, -(-(extent - min(height, width)) // 2))  # at least one output
    layer = nn.Conv2d(
        channels, channels, kernel, stride=stride, padding=padding, dilation=dilation, groups=channels, bias=bias
    ).double()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(n, channels, height, width, dtype=torch.float64).contiguous(memory_format=layout)
    y, x_gradient, gradients = _gradients(layer, x)
    with fast_depthwise(layer):
        fast_y, fast_x_gradient, fast_gradients = _gradients(layer, x)
    assert torch.equal(fast_y, y)
    torch.testing.assert_close(fast_x_gradient, x_gradient)
    torch.testing.assert_close(fast_gradients, gradients)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_whole_network_has_the_same_loss_and_gradients(layout):
    model = build_architecture("convnext_mini", n_outputs=5, seed=0).train().double().to(memory_format=layout)
    x = torch.randn(3, 1, 64, 64, dtype=torch.float64).contiguous(memory_format=layout)
    y, _, gradients = _gradients(model, x)
    with fast_depthwise(model):
        fast_y, _, fast_gradients = _gradients(model, x)
    assert torch.equal(fast_y, y)
    torch.testing.assert_close(fast_gradients, gradients)


def _depthwise_calls(monkeypatch):
    """A list that grows by one whenever the fast weight gradient is computed."""
    calls = []
    original = module_under_test.depthwise_gradients

    def counted(*arguments, **options):
        calls.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(module_under_test, "depthwise_gradients", counted)
    return calls


def test_only_depthwise_layers_in_training_take_the_fast_way(monkeypatch):
    calls = _depthwise_calls(monkeypatch)
    depthwise = nn.Conv2d(4, 4, 3, groups=4)
    others = [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(4, 4, 3, padding="same", groups=4)]
    x = torch.randn(2, 4, 6, 6)
    with fast_depthwise(nn.Sequential(depthwise, *others)):
        for other in others:
            _gradients(other, x)
        assert not calls
        depthwise.eval()
        _gradients(depthwise, x)
        assert not calls
        depthwise.train()
        _gradients(depthwise, x)
        assert len(calls) == 1
        with torch.no_grad():
            assert not depthwise(x).requires_grad
        with torch.autocast("cpu", torch.bfloat16):
            assert depthwise(x).dtype == torch.bfloat16


def test_a_layer_used_twice_and_two_backward_passes_accumulate(monkeypatch):
    calls = _depthwise_calls(monkeypatch)
    layer = nn.Conv2d(3, 3, 3, padding=1, groups=3).double()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)

    def accumulated():
        layer.zero_grad(set_to_none=True)
        for _ in range(2):
            layer(layer(x)).square().sum().backward()
        return {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}

    expected = accumulated()
    with fast_depthwise(layer):
        found = accumulated()
    assert len(calls) == 4
    torch.testing.assert_close(found, expected)


def test_frozen_weights_get_no_gradient():
    layer = nn.Conv2d(3, 3, 3, groups=3)
    layer.weight.requires_grad_(False)
    with fast_depthwise(layer):
        layer(torch.randn(1, 3, 5, 5)).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None


def _n_replaced(model):
    return sum("forward" in module.__dict__ for module in model.modules())


def test_the_model_is_as_it_was_afterwards_also_after_an_error_and_when_nested():
    model = build_architecture("convnext_mini", n_outputs=5, seed=0).train()
    before = copy.deepcopy(model.state_dict())
    with fast_depthwise(model):
        n_fast = _n_replaced(model)
        with fast_depthwise(model):
            assert _n_replaced(model) == n_fast == 4
        assert _n_replaced(model) == n_fast  # leaving the inner one leaves the outer one in force
    assert _n_replaced(model) == 0
    with pytest.raises(ZeroDivisionError), fast_depthwise(model):
        1 / 0  # noqa: B018
    assert _n_replaced(model) == 0
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_with_a_book_keeper_keeps_its_recording_layers():
    model = build_architecture("convnext_mini", n_outputs=5, seed=0).train()
    keeper = attach(model)
    with fast_depthwise(model):
        report = keeper.add_clipped_sum(model(torch.randn(2, 1, 64, 64)).square().sum(1), 1.0)
    assert report.norms.shape == (2,)
    assert report.n_non_finite == 0
    keeper.detach()
    assert _n_replaced(model) == 0
