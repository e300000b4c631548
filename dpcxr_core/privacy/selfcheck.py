"""Proof, on this machine and this model, that the privacy engine does what the accountant assumes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from scipy import stats
from timm.layers import DropPath
from torch import Tensor, nn

from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.privacy.accounting import epsilon_gaussian, epsilon_pld
from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.privacy.errors import PrivacyEngineError
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.oracle import clipped_sum_of, gradients_one_by_one, norm_of
from dpcxr_core.privacy.sampling import poisson_draws

Gradients = dict[str, Tensor]
ClippedSum = Callable[[nn.Module, Tensor, Tensor, float], Gradients]
Sampler = Callable[[PrivacySpecification, int, np.random.Generator], Iterator[np.ndarray]]
Mechanism = Callable[[list[nn.Parameter], PrivacySpecification, np.random.Generator], None]

LARGEST_SUM_ERROR = 1e-5  # float32 against float64, relative, over all parameters
LARGEST_PARAMETER_ERROR = 1e-4  # the same for the worst parameter alone
LARGEST_CONTRIBUTION = 1 + 1e-6  # in clip norms
LARGEST_Z = 5.0  # false alarm about 6e-7

_MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class CheckResult:
    """One check: what was measured, and the limit it had to stay within.

    Attributes:
        name: What was checked.
        measured: The number found; NaN counts as failed.
        limit: The most that passes.
        passed: Whether ``measured`` is at most ``limit``.
        detail: What was compared, in a few words.
    """

    name: str
    measured: float
    limit: float
    passed: bool
    detail: str


def run_selfcheck(model: nn.Module, images: Tensor, *, brief: bool = False, seed: int = 0) -> list[CheckResult]:
    """Every check of the privacy engine on a copy of ``model``; the model itself is left alone.

    Parameters that are constant (a zeroed head, an untrained layer scale) are randomised in the copy, since
    nothing can be learnt about layers that no gradient reaches. Dropout and stochastic depth are off.

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
    copied = _awakened_copy(model, generator)
    with torch.no_grad():
        n_outputs = copied(images[:1]).shape[1]
    targets = (torch.rand(images.shape[0], n_outputs, generator=generator) < 0.5).float()
    own_format = "channels_last" if _is_channels_last(copied) else "contiguous"
    results = []
    for memory_format in [own_format] if brief else list(_MEMORY_FORMATS):
        results += check_clipped_sum(copied, images, targets, memory_format=memory_format)
    results.append(check_contributions(copied, images, targets, brief=brief))
    results.append(check_physical_batches(copied, images, targets))
    results += check_noise(seed=seed, n_draws=20_000 if brief else 200_000)
    results += check_sampler(seed=seed, n_draws=400 if brief else 4000)
    results.append(check_accountant())
    return results


def brief_selfcheck(model: nn.Module, image_shape: tuple[int, int, int], *, seed: int = 0) -> list[CheckResult]:
    """The checks that let a private run begin, all passed; about a second on a small model.

    Args:
        model: As for ``run_selfcheck``; call this before ``attach``.
        image_shape: ``(channels, height, width)``.
        seed: Seeds the check alone; the run's own generators are not touched.

    Raises:
        PrivacyEngineError: A check failed; the message names each one with what was measured.
    """
    results = run_selfcheck(model, _random_images(model, image_shape, seed), brief=True, seed=seed)
    failed = [result for result in results if not result.passed]
    if failed:
        found = "; ".join(f"{r.name}: {r.measured:.3g}, limit {r.limit:.3g} ({r.detail})" for r in failed)
        raise PrivacyEngineError(f"the privacy engine failed its self-check, so nothing was trained: {found}")
    return results


def full_selfcheck(model: nn.Module, image_shape: tuple[int, int, int], *, seed: int = 0) -> list[CheckResult]:
    """``run_selfcheck`` on three random images of ``image_shape``, ``(channels, height, width)``."""
    return run_selfcheck(model, _random_images(model, image_shape, seed), seed=seed)


def _random_images(model: nn.Module, image_shape: tuple[int, int, int], seed: int) -> Tensor:
    images = torch.randn(3, *image_shape, generator=torch.Generator().manual_seed(seed))
    return images.to(next(model.parameters()).device)


def book_kept_sum(model: nn.Module, images: Tensor, targets: Tensor, max_grad_norm: float) -> Gradients:
    """The clipped sum of this engine, by parameter name; ``.grad`` is left empty."""
    return _book_kept_sum_of_parts(model, [(images, targets)], max_grad_norm)


def check_clipped_sum(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    memory_format: str = "contiguous",
    clipped_sum: ClippedSum = book_kept_sum,
) -> list[CheckResult]:
    """The clipped sum against single images in float64: over all parameters, and for the worst one alone.

    The clip norm is the median of the true norms, so that some images are clipped and some are not.
    """
    layout = _MEMORY_FORMATS[memory_format]
    laid_out = copy.deepcopy(model).to(memory_format=layout)
    images = images.contiguous(memory_format=layout)
    oracle = gradients_one_by_one(laid_out, images, targets, losses_of)
    max_grad_norm = float(np.median([norm_of(gradient) for gradient in oracle]))
    expected = clipped_sum_of(oracle, max_grad_norm)
    found = clipped_sum(laid_out, images, targets, max_grad_norm)
    total = norm_of(expected)
    errors = {name: float((found[name].double() - part).norm()) for name, part in expected.items()}
    # A parameter with next to no gradient is judged on the scale of the others.
    relative = {name: error / max(float(expected[name].norm()), 1e-3 * total) for name, error in errors.items()}
    worst = max(relative, key=lambda name: math.inf if math.isnan(relative[name]) else relative[name])
    return [
        _at_most(
            f"clipped sum, {memory_format}",
            math.sqrt(sum(error**2 for error in errors.values())) / total,
            LARGEST_SUM_ERROR,
            f"relative error against {len(oracle)} single images in float64",
        ),
        _at_most(
            f"worst parameter, {memory_format}",
            relative[worst],
            LARGEST_PARAMETER_ERROR,
            f"relative error of {worst}",
        ),
    ]


def check_contributions(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    brief: bool = False,
    clipped_sum: ClippedSum = book_kept_sum,
) -> CheckResult:
    """The largest contribution of one image, in clip norms, over ordinary and crafted images.

    Not-a-number and infinite images must contribute nothing, alone and beside ordinary ones.
    """
    crafted = _crafted_images(images[:1])
    if brief:
        crafted = {name: crafted[name] for name in ("as given", "times 1e4", "not a number")}
    max_grad_norm = 1e-2 * norm_of(gradients_one_by_one(model, images[:1], targets[:1], losses_of)[0])
    contributions = {}
    for name, image in crafted.items():
        contributions[name] = norm_of(clipped_sum(model, image, targets[:1], max_grad_norm)) / max_grad_norm
        if not bool(image.isfinite().all()) and contributions[name] != 0:
            contributions[name] = math.inf
    spoilt = torch.cat([crafted["not a number"], images[1:2]])
    beside = clipped_sum(model, spoilt, targets[:2], max_grad_norm)
    alone = clipped_sum(model, images[1:2], targets[1:2], max_grad_norm)
    moved = norm_of({name: beside[name] - alone[name] for name in alone}) / max_grad_norm
    contributions["not a number, beside another"] = moved if moved < 1e-4 else math.inf
    worst = max(contributions, key=lambda name: math.inf if math.isnan(contributions[name]) else contributions[name])
    return _at_most(
        "contribution of one image", contributions[worst], LARGEST_CONTRIBUTION, f"in clip norms; image {worst}"
    )


def check_physical_batches(model: nn.Module, images: Tensor, targets: Tensor) -> CheckResult:
    """The sum over physical batches, one of them empty, against the logical batch in one go."""
    max_grad_norm = 0.5 * norm_of(gradients_one_by_one(model, images[:1], targets[:1], losses_of)[0])
    whole = book_kept_sum(model, images, targets, max_grad_norm)
    cuts = [(images[:1], targets[:1]), (images[:0], targets[:0]), (images[1:], targets[1:])]
    pieces = _book_kept_sum_of_parts(model, cuts, max_grad_norm)
    error = norm_of({name: pieces[name] - whole[name] for name in whole}) / norm_of(whole)
    return _at_most("physical batches", error, LARGEST_SUM_ERROR, "relative difference to the logical batch")


def check_noise(*, seed: int = 0, n_draws: int = 200_000, mechanism: Mechanism = privatise) -> list[CheckResult]:
    """Noise on zero gradients: mean, variance, shape, and independence of one step from the next, as z."""
    specification = _example_specification()
    parameter = nn.Parameter(torch.zeros(n_draws))
    rng = np.random.default_rng(seed)
    steps = []
    for _ in range(2):
        parameter.grad = torch.zeros(n_draws)
        mechanism([parameter], specification, rng)
        scale = specification.expected_batch_size / specification.noise_std
        steps.append(parameter.grad.double().numpy() * scale)
    noise = steps[0]
    shape_p_value = stats.kstest(noise, "norm").pvalue
    measured = {
        "noise mean": abs(noise.mean()) * math.sqrt(n_draws),
        "noise variance": abs((noise**2).mean() - 1) * math.sqrt(n_draws / 2),
        "noise shape": float(stats.norm.isf(shape_p_value / 2)),
        "noise of two steps": abs((noise * steps[1]).mean()) * math.sqrt(n_draws),
    }
    return [
        _at_most(name, value, LARGEST_Z, f"|z| over {n_draws} draws on zero gradients")
        for name, value in measured.items()
    ]


def check_sampler(*, seed: int = 0, n_draws: int = 4000, sampler: Sampler = poisson_draws) -> list[CheckResult]:
    """Poisson draws: mean and variance of their sizes, and evenness over the units, as z."""
    n_units, specification = 1000, _example_specification(n_steps=n_draws)
    rate = specification.sample_rate
    draws = list(sampler(specification, n_units, np.random.default_rng(seed)))
    sizes = np.array([len(draw) for draw in draws])
    uses = np.bincount(np.concatenate(draws), minlength=n_units)
    variance = n_units * rate * (1 - rate)
    uses_variance = n_draws * rate * (1 - rate)
    repeats = sum(len(draw) - len(np.unique(draw)) for draw in draws)
    measured = {
        "sampler mean": abs(sizes.mean() - n_units * rate) / math.sqrt(variance / n_draws),
        "sampler variance": abs(sizes.var() / variance - 1) * math.sqrt(n_draws / 2),
        "sampler evenness": abs(((uses - n_draws * rate) ** 2).mean() / uses_variance - 1) * math.sqrt(n_units / 2),
        "sampler repeats": math.inf if repeats or len(draws) != n_draws else 0.0,
    }
    return [
        _at_most(name, value, LARGEST_Z, f"|z| over {n_draws} draws of {n_units} units at rate {rate}")
        for name, value in measured.items()
    ]


def check_accountant() -> CheckResult:
    """PLD against the closed form of the Gaussian mechanism without sampling (Balle & Wang, Theorem 8)."""
    exact = epsilon_gaussian(noise_multiplier=10.0, n_steps=100, delta=1e-5)
    claimed = epsilon_pld(10.0, 1.0, 100, 1e-5)
    error = claimed - exact if claimed >= exact else math.inf
    return _at_most("accountant", error, 1e-3, "PLD above the exact epsilon; below it is refused")


def losses_of(logits: Tensor, targets: Tensor) -> Tensor:
    """``(n_images,)`` losses: binary cross-entropy summed over the outputs."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)


def _book_kept_sum_of_parts(model: nn.Module, parts: list[tuple[Tensor, Tensor]], max_grad_norm: float) -> Gradients:
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in named.values():
        parameter.grad = None
    keeper = attach(model)
    try:
        for images, targets in parts:
            losses = losses_of(model(images), targets) if len(images) else images.new_zeros(0)
            keeper.add_clipped_sum(losses, max_grad_norm)
        found = {name: p.grad for name, p in named.items() if p.grad is not None}
    finally:
        keeper.detach()
        for parameter in named.values():
            parameter.grad = None
    return found


def _awakened_copy(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy in train mode without randomness, whose constant parameters are random so that all layers matter."""
    copied = copy.deepcopy(model).train()
    for module in copied.modules():
        if isinstance(module, nn.Dropout | DropPath):
            module.eval()
    with torch.no_grad():
        for name, parameter in copied.named_parameters():
            if bool((parameter == parameter.flatten()[0]).all()):
                noise = torch.randn(parameter.shape, generator=generator).to(parameter.device)
                if name.endswith("gamma"):
                    parameter.copy_(0.5 * (1 + 0.3 * noise))
                else:
                    parameter.add_(noise, alpha=0.3 if parameter.dim() == 1 else 0.05)
    return copied


def _crafted_images(image: Tensor) -> dict[str, Tensor]:
    identical_rows = image[:, :, :1].expand_as(image).clone()
    one_pixel = torch.zeros_like(image)
    one_pixel[..., 0, 0] = 1e6
    return {
        "as given": image,
        "times 1e4": image * 1e4,
        "times 1e30": image * 1e30,
        "times 1e-8": image * 1e-8,
        "of zeros": torch.zeros_like(image),
        "of identical rows": identical_rows,
        "of one huge pixel": one_pixel,
        "not a number": torch.full_like(image, math.nan),
        "infinite": torch.full_like(image, math.inf),
    }


def _example_specification(n_steps: int = 1) -> PrivacySpecification:
    return PrivacySpecification(
        sample_rate=0.03,
        n_steps=n_steps,
        expected_batch_size=30,
        max_grad_norm=0.7,
        noise_multiplier=1.3,
        delta=1e-5,
    )


def _is_channels_last(model: nn.Module) -> bool:
    """Whether some convolution kernel larger than one pixel is laid out channels last."""
    kernels = [p for p in model.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    return any(not kernel.is_contiguous() for kernel in kernels)


def _at_most(name: str, measured: float, limit: float, detail: str) -> CheckResult:
    return CheckResult(name, float(measured), limit, bool(measured <= limit), detail)
