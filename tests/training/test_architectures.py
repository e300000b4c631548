import math

import numpy as np
import pytest
import timm
import torch

from dpcxr_core.config import UserError
from dpcxr_core.data.images import to_input
from dpcxr_core.training.architectures import (
    architecture_names,
    build_architecture,
    per_image_input,
    probe_features,
    reset_head,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8)


def _mini(seed: int = 0, n_outputs: int = 5) -> torch.nn.Module:
    return build_architecture("convnext_mini", n_outputs=n_outputs, seed=seed)


def test_mini_is_as_small_as_the_book_says():
    assert sum(parameter.numel() for parameter in _mini().parameters()) == 164_805


def test_seed_alone_decides_the_weights_and_the_global_state_is_kept():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = _mini(seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = _mini(seed=3), _mini(seed=4)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(first.get_parameter("stem.0.weight"), other.get_parameter("stem.0.weight"))


def _z_of_spread(weights: torch.Tensor, expected_std: float) -> float:
    """Normal score of the mean square of independent normal weights; its variance is 2/n."""
    ratio = float(weights.double().square().mean()) / expected_std**2
    return (ratio - 1) * math.sqrt(weights.numel() / 2)


@pytest.mark.parametrize(
    ("name", "fan_in", "gain"),
    [
        ("stem.0", 1 * 4 * 4, 1.0),
        ("stages.1.blocks.0.conv_dw", 7 * 7, 1.0),
        ("stages.2.downsample.1", 32 * 2 * 2, 1.0),
        ("stages.3.blocks.0.mlp.fc1", 96, 1.6),
        ("stages.3.blocks.0.mlp.fc2", 4 * 96, 0.7),
    ],
)
def test_mini_weights_are_scaled_by_fan_in_and_biases_are_zero(name, fan_in, gain):
    layer = _mini().get_submodule(name)
    assert abs(_z_of_spread(layer.weight.detach(), gain / math.sqrt(fan_in))) < 5
    assert not layer.bias.any()
    # the spread that timm gives every ConvNeXt is refused by the same test
    timms = timm.models.convnext.ConvNeXt(
        in_chans=1, num_classes=5, dims=(16, 32, 64, 96), depths=(1, 1, 1, 1), ls_init_value=None
    )
    assert abs(_z_of_spread(timms.get_submodule(name).weight.detach(), gain / math.sqrt(fan_in))) > 5


def test_networks_of_timm_keep_timms_initialisation_and_no_stochastic_depth():
    model = build_architecture("convnext_atto", n_outputs=5, seed=0)
    weight = model.get_parameter("stages.3.blocks.0.mlp.fc1.weight").detach()
    # a normal of 0.02 cut at plus and minus 2, that is at 100 standard deviations
    assert abs(_z_of_spread(weight, 0.02)) < 5
    assert model.head.fc.out_features == 5
    assert not any(isinstance(module, timm.layers.DropPath) for module in model.modules())


def test_new_head_of_zeros_scores_every_image_one_half():
    model = _mini(n_outputs=3).eval()
    reset_head(model, 5)
    logits = model(to_input(IMAGES, per_image_input("convnext_mini")))
    assert logits.shape == (5, 5)
    assert not logits.any()


def test_probe_features_are_what_the_head_reads():
    model = _mini(seed=1)
    transform = per_image_input("convnext_mini")
    features = probe_features(model, IMAGES, transform, batch_size=2)
    assert features.shape == (5, 96)
    assert features.dtype == np.float32
    with torch.no_grad():
        by_features = model.head.fc(torch.from_numpy(features))
        by_model = model(to_input(IMAGES, transform))
    # batches of 2 and of 5 sum in another order
    torch.testing.assert_close(by_features, by_model, rtol=1e-4, atol=1e-5)
    assert probe_features(model, IMAGES[:0], transform).shape == (0, 96)


def test_input_has_the_channels_of_the_network():
    for architecture in ("convnext_mini", "convnext_atto"):
        model = build_architecture(architecture, n_outputs=0, seed=0)
        assert per_image_input(architecture).in_chans == model.in_chans


def test_unknown_architecture_is_refused_with_near_names():
    assert {"convnext_mini", "convnext_small", "convnextv2_tiny"} <= set(architecture_names())
    with pytest.raises(UserError, match="'convnext_smal'; did you mean convnext_small"):
        build_architecture("convnext_smal", n_outputs=5, seed=0)
    with pytest.raises(UserError, match="no ConvNeXt is named 'resnet50'"):
        build_architecture("resnet50", n_outputs=5, seed=0)
