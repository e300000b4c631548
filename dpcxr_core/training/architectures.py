"""The networks by name: every ConvNeXt of timm, and one small enough for a laptop."""

from __future__ import annotations

import difflib
import math

import numpy as np
import timm
import torch
from timm.models.convnext import ConvNeXt
from torch import nn

from dpcxr_core.config import UserError
from dpcxr_core.data.images import InputTransform, to_input

MINI = "convnext_mini"

# fc1 is followed by a GELU, which more than halves the mean square; fc2 closes a residual branch, which is
# kept smaller than the stream it is added to (there is no layer scale to do it)
_GAINS = {"mlp.fc1": 1.6, "mlp.fc2": 0.7}


def architecture_names() -> list[str]:
    """Names that ``build_architecture`` knows, sorted: ``convnext_mini`` and the ConvNeXts of timm."""
    return sorted([MINI, *timm.list_models(module="convnext")])


def check_architecture(architecture: str) -> None:
    """Refuse a name that ``build_architecture`` does not know.

    Raises:
        UserError: ``architecture`` is unknown; near names are given.
    """
    known = architecture_names()
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=3) or [MINI, "convnext_tiny"]
        raise UserError(f"no ConvNeXt is named {architecture!r}; did you mean {', '.join(near)}?")


def build_architecture(architecture: str, *, n_outputs: int, seed: int) -> nn.Module:
    """A network with fresh random weights, drawn from ``seed`` alone.

    ``convnext_mini`` has 165k parameters and one input channel, and draws its weights scaled by
    fan-in: the constant spread of 0.02 that timm gives every ConvNeXt is meant for wide networks, and
    lets the signal of this narrow one fade. Networks of timm keep timm's own initialisation.

    Args:
        architecture: A name of ``architecture_names``.
        n_outputs: Outputs of the linear head; 0 leaves the head out.
        seed: Seeds the weights. The global random state is left as it was.

    Raises:
        UserError: ``architecture`` is unknown.
    """
    check_architecture(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if architecture != MINI:
            return timm.create_model(architecture, pretrained=False, num_classes=n_outputs, drop_path_rate=0.0)
        model = ConvNeXt(
            in_chans=1,
            num_classes=n_outputs,
            dims=(16, 32, 64, 96),
            depths=(1, 1, 1, 1),
            patch_size=4,
            ls_init_value=None,
        )
        _scale_by_fan_in(model)
    return model


@torch.no_grad()
def _scale_by_fan_in(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            gain = next((gain for end, gain in _GAINS.items() if name.endswith(end)), 1.0)
            fan_in = module.weight[0].numel()
            module.weight.normal_(0.0, gain / math.sqrt(fan_in))
            if module.bias is not None:
                module.bias.zero_()


def per_image_input(architecture: str) -> InputTransform:
    """The input of weights that no data set's statistics belong to: each image standardised by itself."""
    return InputTransform(mode="per_image", in_chans=1 if architecture == MINI else 3)


def reset_head(model: nn.Module, n_outputs: int) -> None:
    """Give ``model`` a new linear head of zeros.

    With zeros every score starts at one half, so no private update is spent on unlearning a drawn head.
    """
    model.reset_classifier(n_outputs)  # type: ignore[operator]
    nn.init.zeros_(model.get_parameter("head.fc.weight"))
    nn.init.zeros_(model.get_parameter("head.fc.bias"))


def pooled_features(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What the linear head of ``model`` reads: ``(n, n_features)`` for ``(n, channels, size, size)``."""
    features = model.forward_features(inputs)  # type: ignore[operator]
    return model.forward_head(features, pre_logits=True)  # type: ignore[operator]


@torch.no_grad()
def probe_features(
    model: nn.Module, images: np.ndarray, transform: InputTransform, batch_size: int = 256
) -> np.ndarray:
    """Pooled features of ``images``, for a linear probe: ``(n, n_features)`` float32.

    Args:
        model: A network of ``build_architecture``; evaluated in eval mode.
        images: ``(n, size, size)`` uint8; may be memory-mapped.
        transform: How pixels become input of this model.
        batch_size: Images at once.
    """
    model.eval()
    pieces = [
        pooled_features(model, to_input(np.asarray(images[start : start + batch_size]), transform)).numpy()
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(pieces) if pieces else np.zeros((0, int(model.num_features)), np.float32)  # type: ignore[arg-type]
