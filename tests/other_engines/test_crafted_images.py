import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.utils.tensor_utils import unfold2d
from timm.models.convnext import ConvNeXt

from dpcxr_core.config import UserError
from dpcxr_core.other_engines.crafted_images import climb, contributions_of_unseen, lone_convolution, unseen_image
from dpcxr_core.other_engines.gradient_faults import largest_contribution, opacus_sum, probe
from dpcxr_core.other_engines.opacus_engine import OpacusMethod
from dpcxr_core.privacy.clipping_checks import book_kept_sum

SHIPPED = opacus_sum(OpacusMethod("ghost"))
CURED = opacus_sum(OpacusMethod("ghost", fixed=True))


@settings(derandomize=True, deadline=None, max_examples=25)
@given(channels=st.integers(2, 5), half=st.integers(3, 8))
def test_unseen_image_is_black_for_unfold2d_and_bright_for_torch(channels, half):
    image = unseen_image(channels, 2 * half, 3.0)
    options = {"kernel_size": (2, 2), "padding": (0, 0), "stride": (2, 2), "dilation": (1, 1)}
    assert unfold2d(image, **options).abs().max() == 0
    assert torch.nn.functional.unfold(image, **options).max() == 3
    assert unfold2d(image.contiguous(), **options).max() == 3


def test_one_channel_has_one_layout():
    with pytest.raises(UserError, match="1 channel"):
        unseen_image(1, 8, 1.0)


def test_ghost_as_shipped_does_not_clip_what_it_does_not_see():
    table = contributions_of_unseen([1.0, 100.0], {"shipped": SHIPPED, "cured": CURED, "ours": book_kept_sum})
    assert (table["true_norm"] > 1).all()
    assert table["shipped"].to_numpy() == pytest.approx(table["true_norm"].to_numpy(), rel=1e-5)
    assert table["shipped"].iloc[1] > 100
    assert (table["cured"] <= 1 + 1e-5).all()
    assert (table["ours"] <= 1 + 1e-6).all()


def test_lone_convolution_follows_its_seed_alone():
    state = torch.random.get_rng_state()
    first, again, other = (lone_convolution(3, seed=seed)[0].weight for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_climbing_finds_an_image_that_contributes_as_predicted():
    net = ConvNeXt(in_chans=3, num_classes=5, dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ls_init_value=0.5).train()
    convolutions = [net.stages[stage].downsample[1] for stage in (1, 2, 3)]
    image, target = torch.randn(1, 3, 64, 64), torch.ones(1, 5)
    _, before = climb(net, image, target, convolutions, n_steps=1)
    best, predicted = climb(net, image, target, convolutions, n_steps=12)
    probed = probe(net, best, target)
    limit = 1e-2 * probed.norms[0]
    assert predicted > before + 0.01
    assert largest_contribution(probed, SHIPPED, limit) == pytest.approx(predicted, rel=1e-4)
    assert largest_contribution(probed, CURED, limit) <= 1 + 1e-5
    assert all(p.grad is None for p in net.parameters())
