"""Where a method's per-image gradients differ from single images in float64, and what one image can then contribute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dpcxr_core.other_engines.opacus_engine import OpacusMethod, clipped_sum, per_image_gradients, per_image_norms
from dpcxr_core.privacy.clipping_checks import losses_of
from dpcxr_core.privacy.oracle import clipped_sum_of, gradients_one_by_one, norm_of

Gradients = dict[str, Tensor]
ClippedSum = Callable[[nn.Module, Tensor, Tensor, float], Gradients]

# Float32 sums over thousands of positions stay below this; a wrong layer is off by more than a hundredth.
WRONG_FROM = 1e-3


@dataclass(frozen=True)
class Probe:
    """A model with images to try a method on, and the truth about them. Made by ``probe``.

    Attributes:
        model: In train mode.
        images: ``(n_images, channels, height, width)``.
        targets: ``(n_images, n_outputs)``, for ``losses_of``.
        oracle: The float64 gradient of each image, by parameter name.
    """

    model: nn.Module
    images: Tensor
    targets: Tensor
    oracle: list[Gradients]

    @property
    def norms(self) -> list[float]:
        """The true gradient norm of each image."""
        return [norm_of(gradient) for gradient in self.oracle]


def probe(model: nn.Module, images: Tensor, targets: Tensor) -> Probe:
    """``model`` with ``images`` and their true gradients; see ``Probe`` for the arguments."""
    return Probe(model, images, targets, gradients_one_by_one(model, images, targets, losses_of))


def layer_errors(probe: Probe, method: OpacusMethod) -> pd.DataFrame:
    """One row a parameter: how far Opacus' per-image gradients, or their norms, are from the truth.

    Returns:
        ``parameter``; ``gradient_error``, the relative L2 error over all images, NaN in mode "ghost", which makes
        no gradients; ``norm_error``, the same of the norms; ``wrong``, whether either is above ``WRONG_FROM``.
    """
    work = (probe.model, probe.images, probe.targets, losses_of, method)
    gradients = {} if method.mode == "ghost" else per_image_gradients(*work)
    norms = {name: each.flatten(1).norm(dim=1) for name, each in gradients.items()} or per_image_norms(*work)
    rows = []
    for name in probe.oracle[0]:
        expected = torch.stack([gradient[name] for gradient in probe.oracle])
        errors = {
            "gradient_error": _relative(gradients[name], expected) if name in gradients else np.nan,
            "norm_error": _relative(norms[name], expected.flatten(1).norm(dim=1)),
        }
        rows.append({"parameter": name, **errors, "wrong": np.nanmax(list(errors.values())) > WRONG_FROM})
    return pd.DataFrame(rows)


def sum_error(probe: Probe, engine: ClippedSum) -> float:
    """Relative L2 error of the clipped sum over all parameters, at the median of the true norms as clip norm."""
    max_grad_norm = float(np.median(probe.norms))
    expected = clipped_sum_of(probe.oracle, max_grad_norm)
    found = engine(probe.model, probe.images, probe.targets, max_grad_norm)
    return norm_of({name: found[name] - part for name, part in expected.items()}) / norm_of(expected)


def largest_contribution(probe: Probe, engine: ClippedSum, max_grad_norm: float) -> float:
    """Norm of the clipped sum of one image alone, in clip norms: the largest over the images.

    The guarantee rests on this being at most 1, for every image that there could be.
    """
    alone = zip(probe.images.split(1), probe.targets.split(1), strict=True)
    sums = [engine(probe.model, image, target, max_grad_norm) for image, target in alone]
    return max(norm_of(found) for found in sums) / max_grad_norm


def opacus_sum(method: OpacusMethod) -> ClippedSum:
    """The clipped sum of Opacus, for the functions above."""

    def engine(model: nn.Module, images: Tensor, targets: Tensor, max_grad_norm: float) -> Gradients:
        return clipped_sum(model, images, targets, losses_of, max_grad_norm, method)

    return engine


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())
