import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import LayerNorm, LayerNorm2d
from timm.layers.grn import GlobalResponseNorm
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn

from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.privacy.errors import UnsupportedLayerError
from dpcxr_core.privacy.layers import depthwise_gradients
from dpcxr_core.privacy.oracle import clipped_sum_of, gradients_one_by_one, norm_of

examples = settings(derandomize=True, deadline=None, max_examples=25)
seeds = st.integers(0, 10**6)


def _losses(outputs: Tensor, weights: Tensor) -> Tensor:
    """Not linear in the outputs, and different for each image."""
    return (outputs.flatten(1) * weights).sin().sum(1)


def _assert_rule_matches_oracle(
    layer: nn.Module, x: Tensor, memory_format: torch.memory_format = torch.contiguous_format
) -> None:
    model = nn.Sequential(layer).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        weights = torch.randn(x.shape[0], model(x).flatten(1).shape[1])
    oracle = gradients_one_by_one(model, x, weights, _losses)
    max_grad_norm = 0.7 * max(norm_of(gradient) for gradient in oracle)
    expected = clipped_sum_of(oracle, max_grad_norm)
    x = x.to(memory_format=memory_format).requires_grad_()
    keeper = attach(model)
    report = keeper.add_clipped_sum(_losses(model(x), weights), max_grad_norm)
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    keeper.detach()
    scale = max(norm_of(expected), 1e-3)
    assert norm_of({name: found[name] - part for name, part in expected.items()}) < 2e-5 * scale
    norms = torch.tensor([norm_of(gradient) for gradient in oracle], dtype=torch.float64)
    torch.testing.assert_close(report.norms, norms, rtol=1e-4, atol=1e-5)
    _assert_same_input_gradient(model, x, weights)


def _assert_same_input_gradient(model: nn.Module, x: Tensor, weights: Tensor) -> None:
    fresh = x.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(_losses(model(fresh), weights).sum(), fresh)
    torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-4)


@examples
@given(seed=seeds, middle=st.lists(st.integers(1, 5), max_size=2), n_in=st.integers(1, 8), bias=st.booleans())
def test_linear_rule_matches_single_images(seed, middle, n_in, bias):
    torch.manual_seed(seed)
    _assert_rule_matches_oracle(nn.Linear(n_in, 6, bias=bias), torch.randn(3, *middle, n_in))


@examples
@given(
    seed=seeds,
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 2),
    size=st.tuples(st.integers(8, 11), st.integers(8, 11)),
    channels_last=st.booleans(),
    bias=st.booleans(),
)
def test_dense_convolution_rule_matches_single_images(
    seed, kernel, stride, padding, dilation, size, channels_last, bias
):
    torch.manual_seed(seed)
    layer = nn.Conv2d(3, 5, kernel, stride=stride, padding=padding, dilation=dilation, bias=bias)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    _assert_rule_matches_oracle(layer, torch.randn(2, 3, *size), layout)


@pytest.mark.parametrize("kernel", [1, 2, 4])
@pytest.mark.parametrize("size", [8, 9])
def test_patch_convolution_rule_matches_single_images_also_with_a_rest(kernel, size):
    _assert_rule_matches_oracle(nn.Conv2d(3, 5, kernel, stride=kernel), torch.randn(3, 3, size, size + 2))


@examples
@given(
    seed=seeds,
    kernel=st.tuples(st.sampled_from([1, 2, 3, 7]), st.sampled_from([3, 5, 7])),
    padding=st.integers(0, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels_last=st.booleans(),
)
def test_depthwise_rule_matches_single_images(seed, kernel, padding, stride, dilation, size, channels_last):
    torch.manual_seed(seed)
    if any(side + 2 * padding < dilation * (k - 1) + 1 for side, k in zip(size, kernel, strict=True)):
        return  # the kernel does not fit the map: torch refuses it as well
    layer = nn.Conv2d(4, 4, kernel, stride=stride, padding=padding, dilation=dilation, groups=4)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    _assert_rule_matches_oracle(layer, torch.randn(2, 4, *size), layout)


@examples
@given(seed=seeds, middle=st.lists(st.integers(1, 5), max_size=2), bias=st.booleans(), shift=st.floats(-50, 50))
def test_layer_norm_rule_matches_single_images(seed, middle, bias, shift):
    torch.manual_seed(seed)
    for layer in (nn.LayerNorm(7, bias=bias), LayerNorm(7)):
        _assert_rule_matches_oracle(layer, torch.randn(3, *middle, 7) + shift)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_rules_of_channel_first_norm_and_response_norm_match_single_images(layout):
    _assert_rule_matches_oracle(LayerNorm2d(6), torch.randn(3, 6, 4, 5), layout)
    _assert_rule_matches_oracle(GlobalResponseNorm(6, channels_last=False), torch.randn(3, 6, 4, 5), layout)
    _assert_rule_matches_oracle(GlobalResponseNorm(5), torch.randn(3, 6, 4, 5), layout)


@pytest.mark.parametrize("conv_mlp", [False, True])
@pytest.mark.parametrize("use_grn", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_block_with_layer_scale_matches_single_images(conv_mlp, use_grn, layout):
    block = ConvNeXtBlock(6, conv_mlp=conv_mlp, use_grn=use_grn, ls_init_value=0.5)
    _assert_rule_matches_oracle(block, torch.randn(3, 6, 5, 5), layout)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(4, 8, 3, groups=2), "groups"),
        (nn.Conv2d(4, 8, 3, groups=4), "groups"),
        (nn.Conv2d(4, 4, 3, padding="same"), "padding"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "padding_mode"),
        (nn.LayerNorm((4, 4)), "last dimension"),
        (nn.GroupNorm(2, 4), "GroupNorm"),
        (nn.Embedding(4, 4), "Embedding"),
        (nn.MultiheadAttention(4, 2), "MultiheadAttention"),
    ],
)
def test_layers_without_a_rule_are_refused_by_name(layer, reason):
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(layer))
    with pytest.raises(UnsupportedLayerError, match=rf"^1\.0.*{reason}"):
        attach(model)
    assert "forward" not in model[0].__dict__  # nothing was changed


def test_subclass_of_a_known_layer_is_refused_since_it_may_compute_something_else():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(UnsupportedLayerError, match="Doubled"):
        attach(nn.Sequential(Doubled(2, 2)))


def test_depthwise_gradients_of_images_add_up_to_what_torch_gives():
    x, layer = torch.randn(3, 4, 6, 5), nn.Conv2d(4, 4, 3, padding=1, groups=4)
    output = layer(x)
    gradient = torch.randn_like(output)
    geometry = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 4}
    found = depthwise_gradients(x, gradient, layer.weight.shape, **geometry)
    output.backward(gradient)
    torch.testing.assert_close(found.sum(0), layer.weight.grad, rtol=1e-4, atol=1e-5)


def test_a_map_of_one_pixel_is_given_by_products_alone(monkeypatch):
    x, gradient = torch.randn(3, 4, 1, 1), torch.randn(3, 4, 1, 1)
    monkeypatch.setattr(torch.nn.functional, "conv2d", None)  # torch would take every channel of every image by itself
    geometry = {"stride": (1, 1), "padding": (3, 3), "dilation": (1, 1), "groups": 4}
    found = depthwise_gradients(x, gradient, torch.Size([4, 1, 7, 7]), **geometry)
    expected = torch.zeros(3, 4, 1, 7, 7)
    expected[..., 3, 3] = (x * gradient).flatten(2)  # the outer taps of the kernel never meet the map
    assert torch.equal(found, expected)
