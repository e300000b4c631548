import math

import numpy as np
import pytest
import timm
import torch

from dpcxr_core.config import UserError
from dpcxr_core.data.images import to_input
from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.privacy.errors import UnsupportedLayerError
from dpcxr_core.training.architectures import (
    architecture_names,
    build_architecture,
    check_architecture,
    fitting_image_size,
    head_name,
    per_image_input,
    reset_head,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8)


def _mini(seed: int = 0, n_outputs: int = 5) -> torch.nn.Module:
    return build_architecture("convnext_mini", n_outputs=n_outputs, seed=seed)


def test_mini_is_as_small_as_the_book_says():
    assert sum(parameter.numel() for parameter in _mini().parameters()) == 164_805


def test_deep_mini_has_two_more_blocks_in_its_third_stage():
    deep = build_architecture("convnext_mini_deep", n_outputs=5, seed=0)
    assert sum(parameter.numel() for parameter in deep.parameters()) == 237_637
    more = set(deep.state_dict()) - set(_mini().state_dict())
    assert {name.rpartition(".conv_dw")[0] for name in more if ".conv_dw.weight" in name} == {
        "stages.2.blocks.1",
        "stages.2.blocks.2",
    }
    assert per_image_input("convnext_mini_deep") == per_image_input("convnext_mini")


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


@pytest.mark.parametrize(("architecture", "head"), [("convnext_mini", "head.fc"), ("vit_tiny_patch16_224", "head")])
def test_new_head_of_zeros_scores_every_image_one_half(architecture, head):
    for n_outputs in (0, 3):
        model = build_architecture(architecture, n_outputs=n_outputs, seed=0, image_size=64).eval()
        assert head_name(model) == head
        reset_head(model, 5)
        assert head_name(model) == head
        logits = model(to_input(IMAGES, per_image_input(architecture)))
        assert logits.shape == (5, 5)
        assert not logits.any()


def test_input_has_the_channels_of_the_network():
    for architecture in ("convnext_mini", "convnext_atto", "vit_tiny_patch16_224"):
        model = build_architecture(architecture, n_outputs=0, seed=0)
        assert per_image_input(architecture).in_chans == model.in_chans


def test_vit_has_a_position_embedding_for_the_image_size_of_the_store():
    inputs = to_input(IMAGES, per_image_input("vit_tiny_patch16_224"))
    small = build_architecture("vit_tiny_patch16_224", n_outputs=5, seed=0, image_size=64).eval()
    assert small.get_parameter("pos_embed").shape == (1, 1 + (64 // 16) ** 2, 192)
    assert small(inputs).shape == (5, 5)
    timms_own = build_architecture("vit_tiny_patch16_224", n_outputs=5, seed=0).eval()
    assert timms_own.get_parameter("pos_embed").shape == (1, 1 + (224 // 16) ** 2, 192)
    with pytest.raises(AssertionError, match="doesn't match model"):
        timms_own(inputs)


def test_dinov3_vit_computes_at_a_fixed_size_what_timm_computes_at_any():
    model = build_architecture("vit_small_patch16_dinov3", n_outputs=5, seed=0, image_size=64).eval()
    timms_own = timm.create_model("vit_small_patch16_dinov3", num_classes=5).eval()
    timms_own.load_state_dict(model.state_dict())
    inputs = to_input(IMAGES[:2], per_image_input("vit_small_patch16_dinov3"))
    with torch.no_grad():
        expected = timms_own(inputs)
        # the same sums, in another order at most
        torch.testing.assert_close(model(inputs), expected, rtol=1e-5, atol=1e-6)
        # what the size decides is not lost: positions of another grid give another result
        wider = torch.nn.functional.pad(inputs, (0, 32))
        assert not torch.allclose(timms_own(wider), expected, rtol=1e-3)


def test_image_that_the_patches_do_not_tile_is_refused_with_the_sizes_that_fit():
    with pytest.raises(UserError, match=r"patches of 14 pixels, which do not tile 64; prepare images of 56 or 70 "):
        build_architecture("vit_small_patch14_dinov2", n_outputs=5, seed=0, image_size=64)
    with pytest.raises(UserError, match="do not tile 10; prepare images of 16 pixels"):
        build_architecture("vit_tiny_patch16_224", n_outputs=5, seed=0, image_size=10)
    sizes = {64: 56, 70: 70, 13: 14}
    assert {size: fitting_image_size("vit_small_patch14_dinov2", size) for size in sizes} == sizes
    assert fitting_image_size("convnext_mini", 61) == 61


def test_unknown_architecture_is_refused_with_near_names():
    assert {"convnext_mini", "convnext_small", "convnextv2_tiny"} <= set(architecture_names())
    assert {"vit_small_patch16_224", "vit_small_patch16_dinov3", "vit_small_plus_patch16_dinov3"} <= set(
        architecture_names()
    )
    with pytest.raises(UserError, match="'convnext_smal'; did you mean convnext_small"):
        build_architecture("convnext_smal", n_outputs=5, seed=0)
    with pytest.raises(UserError, match="no ConvNeXt or plain ViT is named 'resnet50'"):
        build_architecture("resnet50", n_outputs=5, seed=0)


def test_architecture_without_a_rule_for_each_layer_is_refused_with_that_reason():
    with pytest.raises(UserError, match=r"siglip_224 has layers .* no per-image gradient rule.*siglip_gap_224"):
        check_architecture("vit_base_patch16_siglip_224")
    with pytest.raises(UserError, match=r"dinov3_qkvb has layers .* no per-image gradient rule.*patch16_dinov3,"):
        check_architecture("vit_small_patch16_dinov3_qkvb")


def _narrow(architecture: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """The network with one narrow block a stage, and two images for it: every kind of layer it has, in no time."""
    if "convnext" in architecture:
        options, image_size = {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)}, 32
    else:
        image_size = fitting_image_size(architecture, 32)
        options = {"depth": 1, "embed_dim": 32, "num_heads": 2, "dynamic_img_size": False, "img_size": image_size}
    return timm.create_model(architecture, num_classes=5, **options).train(), torch.randn(2, 3, image_size, image_size)


def test_names_are_exactly_those_whose_layers_the_privacy_engine_can_do():
    """Of the refused ones the engine says the same; of the known ones every gradient arrives, and is right."""
    torch.manual_seed(0)
    candidates = [
        *timm.list_models(module="convnext"),
        *timm.list_models("vit_*", module="vision_transformer"),
        *timm.list_models("vit_*dinov3*", module="eva"),
    ]
    known = set(architecture_names()) - {"convnext_mini", "convnext_mini_deep"}
    assert known <= set(candidates)
    for architecture in candidates:
        model, images = _narrow(architecture)
        if architecture not in known:
            with pytest.raises(UnsupportedLayerError):
                attach(model)
            continue
        model(images).square().sum().backward()
        expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        model.zero_grad()
        attach(model).add_clipped_sum(model(images).square().sum(1), 1e9)
        scale = max(float(gradient.norm()) for gradient in expected.values())
        for name, parameter in model.named_parameters():
            assert float((parameter.grad - expected[name]).norm()) < 1e-5 * scale, (architecture, name)
