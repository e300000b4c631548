"""Proof, on this machine and this model, that the privacy engine does what the accountant assumes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.config import UserError
from dpcxr_core.privacy.awakened import awakened
from dpcxr_core.privacy.chance_checks import check_noise, check_sampler
from dpcxr_core.privacy.check_result import CheckResult, at_most
from dpcxr_core.privacy.clipping_checks import (
    MEMORY_FORMATS,
    check_clipped_sum,
    check_contributions,
    check_physical_batches,
)
from dpcxr_core.privacy.errors import PrivacyEngineError


def run_selfcheck(model: nn.Module, images: Tensor, *, brief: bool = False, seed: int = 0) -> list[CheckResult]:
    """Every check of the privacy engine on a copy of ``model``; the model itself is left alone.

    Both privacy units and both ways of clipping are checked. Parameters that are constant (a zeroed head, an
    untrained layer scale) are randomised in the copy, since nothing can be learnt about layers that no gradient
    reaches. Dropout and stochastic depth are off.

    Args:
        model: Not attached to a book-keeper; gives ``(n_images, n_outputs)`` logits.
        images: ``(n_images, channels, height, width)`` float32, at least 3 images.
        brief: One memory format and fewer crafted images, for the start of every private run.
        seed: Seeds targets, weights of constant parameters, draws and noise.

    Raises:
        UnsupportedLayerError: A trainable layer of the model has no per-image gradient rule.
        UserError: There are fewer than 3 images.
    """
    if images.shape[0] < 3:
        raise UserError(f"the self-check needs at least 3 images; got {images.shape[0]}")
    generator = torch.Generator().manual_seed(seed)
    copied = awakened(model, seed=seed)
    with torch.no_grad():
        n_outputs = copied(images[:1]).shape[1]
    targets = (torch.rand(images.shape[0], n_outputs, generator=generator) < 0.5).float().to(images.device)
    own_format = "channels_last" if _is_channels_last(copied) else "contiguous"
    formats = [own_format] if brief else list(MEMORY_FORMATS)
    results = check_clipped_sum(copied, images, targets, memory_formats=formats)
    results += check_contributions(copied, images, targets, brief=brief, memory_formats=formats)
    results.append(check_physical_batches(copied, images, targets))
    results += check_noise(seed=seed, n_draws=20_000 if brief else 200_000, device=images.device)
    results += check_sampler(seed=seed, n_draws=400 if brief else 4000)
    results.append(check_accountant())
    return results


def brief_selfcheck(model: nn.Module, image_shape: tuple[int, int, int], *, seed: int = 0) -> list[CheckResult]:
    """The checks that let a private run begin, all passed; about a second on a small model.

    Args:
        model: As for ``run_selfcheck``; call this before ``attach``.
        image_shape: ``(channels, height, width)``.
        seed: Seeds the check alone; the run's own chance is not touched.

    Raises:
        PrivacyEngineError: A check failed; the message names each one with what was measured.
    """
    results = run_selfcheck(model, _random_images(model, 3, image_shape, seed), brief=True, seed=seed)
    failed = [result for result in results if not result.passed]
    if failed:
        found = "; ".join(f"{r.name}: {r.measured:.3g}, limit {r.limit:.3g} ({r.detail})" for r in failed)
        raise PrivacyEngineError(f"the privacy engine failed its self-check, so nothing was trained: {found}")
    return results


def full_selfcheck(
    model: nn.Module, image_shape: tuple[int, int, int], *, n_images: int = 6, seed: int = 0
) -> list[CheckResult]:
    """``run_selfcheck`` on ``n_images`` random images of ``image_shape``, ``(channels, height, width)``."""
    return run_selfcheck(model, _random_images(model, n_images, image_shape, seed), seed=seed)


def check_accountant() -> CheckResult:
    """PLD against the closed form of the Gaussian mechanism without sampling (Balle & Wang, Theorem 8)."""
    exact = epsilon_gaussian(noise_multiplier=10.0, n_steps=100, delta=1e-5)
    claimed = epsilon_pld(10.0, 1.0, 100, 1e-5)
    error = claimed - exact if claimed >= exact else math.inf
    return at_most("accountant", error, 1e-3, "PLD above the exact epsilon; below it is refused")


def _random_images(model: nn.Module, n_images: int, image_shape: tuple[int, int, int], seed: int) -> Tensor:
    images = torch.randn(n_images, *image_shape, generator=torch.Generator().manual_seed(seed))
    return images.to(next(model.parameters()).device)


def _is_channels_last(model: nn.Module) -> bool:
    """Whether some convolution kernel larger than one pixel is laid out channels last."""
    kernels = [p for p in model.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    return any(not kernel.is_contiguous() for kernel in kernels)
