"""Sizes of networks from their names, against networks that are built and run."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dpcxr_core.planning.network_flops import N_OUTPUTS, network_size
from dpcxr_core.training.architectures import build_architecture, per_image_input


def _counted(architecture: str, image_size: int) -> tuple[int, int]:
    """FLOPs of one image and parameters, by PyTorch."""
    model = build_architecture(architecture, n_outputs=N_OUTPUTS, seed=0, image_size=image_size).eval()
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # PyTorch does not count what the fused kernel of the CPU does
    image = torch.zeros(1, per_image_input(architecture).in_chans, image_size, image_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return counter.get_total_flops(), sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize(
    ("architecture", "image_size"),
    [
        ("convnext_mini", 64),
        ("convnext_atto", 64),
        ("convnext_atto", 100),  # sides that are cut
        ("convnextv2_atto", 64),
        ("convnext_tiny", 64),
        ("vit_tiny_patch16_224", 64),
    ],
)
def test_size_is_what_pytorch_counts(architecture, image_size):
    flops, n_parameters = _counted(architecture, image_size)
    size = network_size(architecture, image_size)
    # norms and layer scales are left out of the parameters, which matters most in the smallest network
    assert size.forward_flops == pytest.approx(flops, rel=0.005)
    assert size.n_parameters == pytest.approx(n_parameters, rel=0.02)


def test_published_sizes_of_the_studys_networks():
    # Liu et al. (2022), Table 1: 4.5 and 8.7 billion multiplications at 224 px
    assert network_size("convnext_tiny", 224).forward_flops / 2e9 == pytest.approx(4.5, abs=0.05)
    assert network_size("convnext_small", 224).forward_flops / 2e9 == pytest.approx(8.7, abs=0.05)
    # without the head of 1000 classes: 27,820,128 and 49,454,688 parameters, counted in timm's networks
    assert network_size("convnext_small", 224).n_parameters == pytest.approx(49_454_688, rel=0.002)


def test_deeper_mini_has_two_more_blocks_of_its_third_stage():
    mini, deep = (network_size(name, 64) for name in ("convnext_mini", "convnext_mini_deep"))
    assert deep.n_parameters - mini.n_parameters == 2 * (49 * 64 + 8 * 64**2 + 6 * 64)
    assert deep.forward_flops - mini.forward_flops == 2 * 2 * 16 * (49 * 64 + 8 * 64**2)


def test_unknown_family_has_no_size():
    assert network_size("resnet50", 224) is None
    assert network_size("vit_gigantic_patch14", 224) is None
