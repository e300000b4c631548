from collections.abc import Iterable

import pytest
import torch
from timm.models.convnext import ConvNeXt
from torch import nn

from dpcxr_core.privacy.check_result import CheckResult


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def failed_checks(results: Iterable[CheckResult]) -> set[str]:
    """Names of the checks that refused what they saw."""
    return {result.name for result in results if not result.passed}


@pytest.fixture
def small_net() -> nn.Module:
    """The small ConvNeXt of the demo profile: no layer scale, no stochastic depth."""
    return ConvNeXt(
        in_chans=1, num_classes=5, dims=(16, 32, 64, 96), depths=(1, 1, 1, 1), patch_size=4, ls_init_value=None
    ).train()


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three images of 64 pixels and five binary targets each."""
    return torch.randn(3, 1, 64, 64), (torch.rand(3, 5) < 0.5).float()
