import copy

import pytest
import timm
import torch
from torch import nn

from dpcxr_core.config import UserError
from dpcxr_core.privacy import clipping_checks
from dpcxr_core.privacy.errors import PrivacyEngineError, UnsupportedLayerError
from dpcxr_core.privacy.selfcheck import brief_selfcheck, full_selfcheck, run_selfcheck
from tests.privacy.conftest import failed_checks


def _of_timm(architecture: str, **options) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(architecture, pretrained=False, in_chans=1, num_classes=5, **options)


def test_every_check_passes_on_the_small_net_and_leaves_it_alone(small_net):
    before = copy.deepcopy(small_net.state_dict())
    results = run_selfcheck(small_net, torch.randn(6, 1, 64, 64))
    assert failed_checks(results) == set()
    assert len(results) == 8 + 2 + 1 + 7 + 4 + 1
    assert all(torch.equal(before[name], value) for name, value in small_net.state_dict().items())
    assert all(parameter.grad is None for parameter in small_net.parameters())


def test_brief_check_passes_on_a_zeroed_head_and_in_channels_last(small_net):
    nn.init.zeros_(small_net.head.fc.weight)
    brief_selfcheck(small_net.eval(), (1, 64, 64))
    assert not small_net.training
    brief_selfcheck(small_net.to(memory_format=torch.channels_last), (1, 64, 64))


def test_architecture_of_the_study_passes():
    assert failed_checks(full_selfcheck(_of_timm("convnext_atto"), (1, 64, 64))) == set()


def test_architecture_with_a_layer_that_has_no_rule_is_refused_by_its_path():
    with pytest.raises(UnsupportedLayerError, match=r"stem\.1: SimpleNorm2d"):
        full_selfcheck(_of_timm("convnext_zepto_rms"), (1, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("convnextv2_atto", {}),
        ("convnext_tiny.dinov3_lvd1689m", {}),
        ("vit_tiny_patch16_224", {"img_size": 64}),
    ],
)
def test_other_architectures_pass(architecture, options):
    assert failed_checks(full_selfcheck(_of_timm(architecture, **options), (1, 64, 64))) == set()


@pytest.mark.slow
def test_the_deeper_architecture_of_the_study_passes_in_brief():  # in full it takes two minutes
    assert failed_checks(run_selfcheck(_of_timm("convnext_small"), torch.randn(3, 1, 64, 64), brief=True)) == set()


@pytest.mark.slow
@pytest.mark.parametrize("n_images", [4, 13, 32])
def test_batches_up_to_32_images_pass(n_images):
    results = run_selfcheck(_of_timm("convnext_atto"), torch.randn(n_images, 1, 64, 64), brief=True)
    assert failed_checks(results) == set()


def test_too_few_images_are_refused(small_net):
    with pytest.raises(UserError, match="at least 3"):
        run_selfcheck(small_net, torch.randn(2, 1, 64, 64))


def test_failed_check_stops_the_run_and_says_what_was_measured(small_net, monkeypatch):
    monkeypatch.setattr(clipping_checks, "LARGEST_SUM_ERROR", 0.0)
    with pytest.raises(PrivacyEngineError, match="nothing was trained: clipped sum, image, contiguous: .*limit 0"):
        brief_selfcheck(small_net, (1, 64, 64))


def test_model_of_the_timm_registry_may_be_checked_as_it_is():
    model = timm.create_model("convnext_atto", in_chans=1, num_classes=5, drop_path_rate=0.2)
    assert failed_checks(run_selfcheck(model, torch.randn(3, 1, 32, 32), brief=True)) == set()
