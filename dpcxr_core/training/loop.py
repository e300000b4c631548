"""The training loop: draws become gradients, gradients become updates, with privacy or without."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from dpcxr_core.config import FINDINGS, OptimisationChoice, OrdinaryBatches, RunConfig, UserError
from dpcxr_core.data.images import InputTransform, random_shift, to_input
from dpcxr_core.privacy.bookkeeping import BookKeeper, attach
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.sampling import poisson_draws


@dataclass(frozen=True)
class TrainingData:
    """Images to train on, with their labels.

    Attributes:
        images: ``(n, size, size)`` uint8; may be memory-mapped.
        labels: ``(n, 5)`` float32 in the order of ``FINDINGS``: 1, 0 or NaN where unknown.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise UserError(f"images must be (n, size, size) uint8; got {self.images.shape} {self.images.dtype}")
        if self.labels.shape != (len(self.images), len(FINDINGS)):
            raise UserError(
                f"labels must be ({len(self.images)}, {len(FINDINGS)}), a row an image; got {self.labels.shape}"
            )


@dataclass(frozen=True)
class Randomness:
    """Independent sources of chance of one run, so that changing one leaves the others alone."""

    batches: np.random.Generator
    augmentation: np.random.Generator
    noise: np.random.Generator


@dataclass(frozen=True)
class TrainingTrace:
    """What a run left behind besides its weights.

    Attributes:
        ledger: One row a step with public columns only: what the mechanism did.
        diagnostics: One row a step, computed from private images and **not covered by the
            guarantee**: draw size, mean loss, median norm, share clipped, images that were not finite.
    """

    ledger: pd.DataFrame
    diagnostics: pd.DataFrame


def randomness_of(config: RunConfig) -> Randomness:
    """The three generators of a run, from its seed or from the operating system."""
    entropy = config.seed if config.randomness == "seeded" else secrets.randbits(128)
    return Randomness(*(np.random.default_rng(child) for child in np.random.SeedSequence(entropy).spawn(3)))


def loss_per_image(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy over the findings, one value an image.

    An unknown label adds nothing. The divisor is the number of findings, never the number of known
    labels of a batch, so that one image's loss depends on that image alone.

    Args:
        logits: ``(n, 5)`` float.
        labels: ``(n, 5)`` float: 1, 0 or NaN.

    Returns:
        ``(n,)`` float.
    """
    known = ~torch.isnan(labels)
    losses = nn.functional.binary_cross_entropy_with_logits(logits, torch.where(known, labels, 0.0), reduction="none")
    return (losses * known).sum(1) / labels.shape[1]


def make_optimizer(model: nn.Module, choice: OptimisationChoice) -> torch.optim.Optimizer:
    """AdamW or SGD with momentum over the trainable parameters of ``model``."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if choice.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters,
            lr=choice.learning_rate,
            betas=(0.9, choice.beta2),
            weight_decay=choice.weight_decay,
        )
    return torch.optim.SGD(
        parameters, lr=choice.learning_rate, momentum=choice.momentum, weight_decay=choice.weight_decay
    )


def learning_rate_at(step: int, n_steps: int, choice: OptimisationChoice) -> float:
    """Learning rate of update ``step`` (from 0): linear warm-up, then cosine to zero or constant."""
    warmup = int(choice.warmup_fraction * n_steps)
    if step < warmup:
        return choice.learning_rate * (step + 1) / (warmup + 1)
    if choice.schedule == "constant":
        return choice.learning_rate
    progress = (step - warmup) / max(1, n_steps - warmup)
    return choice.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def train(
    model: nn.Module, data: TrainingData, config: RunConfig, transform: InputTransform, *, progress: bool
) -> TrainingTrace:
    """The trace of a run; ``model`` is trained in place.

    Private runs take ``n_steps`` noisy updates of ``config.privacy``, empty draws included. Runs
    without privacy take shuffled batches of ``config.ordinary``.

    Raises:
        UserError: The public-only reference has nothing to train, or the loss is no longer finite.
    """
    if config.optimisation is None:
        raise UserError("the public-only reference does not train; evaluate it as it is")
    model.train()
    keeper = attach(model) if config.privacy is not None else None
    try:
        return _run_steps(model, keeper, data, config, transform, progress)
    finally:
        if keeper is not None:
            keeper.detach()
        model.eval()


def _run_steps(
    model: nn.Module,
    keeper: BookKeeper | None,
    data: TrainingData,
    config: RunConfig,
    transform: InputTransform,
    progress: bool,
) -> TrainingTrace:
    assert config.optimisation is not None
    optimizer = make_optimizer(model, config.optimisation)
    chance = randomness_of(config)
    if config.privacy is not None:
        draws = poisson_draws(config.privacy, len(data.images), chance.batches)
        n_steps = config.privacy.n_steps
    else:
        assert config.ordinary is not None
        draws = shuffled_batches(config.ordinary, len(data.images), chance.batches)
        n_steps = config.ordinary.n_steps
    ledger, diagnostics = [], []
    for step, rows in enumerate(tqdm(draws, total=n_steps, desc="steps", disable=not progress, mininterval=2)):
        rate = learning_rate_at(step, n_steps, config.optimisation)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        seen = _gradients(model, keeper, data, np.asarray(rows), config, transform, chance.augmentation)
        if config.privacy is not None:
            privatise(model.parameters(), config.privacy, chance.noise)
        else:
            _divide_gradients(model, len(rows))
            if not math.isfinite(seen["loss"]):
                raise UserError(f"the loss is {seen['loss']} at step {step}; lower learning_rate ({rate:.3g})")
        optimizer.step()
        noise_std = config.privacy.noise_std if config.privacy is not None else 0.0
        ledger.append({"step": step, "learning_rate": rate, "noise_std": noise_std})
        diagnostics.append({"step": step, **seen})
    return TrainingTrace(pd.DataFrame(ledger), pd.DataFrame(diagnostics))


def _gradients(
    model: nn.Module,
    keeper: BookKeeper | None,
    data: TrainingData,
    rows: np.ndarray,
    config: RunConfig,
    transform: InputTransform,
    augmentation: np.random.Generator,
) -> dict[str, float]:
    """Add the (clipped) gradient sum of ``rows`` into ``.grad``; return what was seen on the way."""
    losses, norms, n_non_finite = [], [], 0
    chunks = _physical_batches(rows, config.physical_batch_size)
    for chunk in chunks:
        # sorted rows read a memory-mapped store front to back
        order = np.sort(chunk)
        pictures = random_shift(data.images[order], config.max_shift, augmentation)
        logits = model(to_input(pictures, transform)) if len(order) else torch.zeros(0, len(FINDINGS))
        loss = loss_per_image(logits, torch.from_numpy(data.labels[order]))
        if keeper is not None and config.privacy is not None:
            report = keeper.add_clipped_sum(loss, config.privacy.max_grad_norm)
            norms.append(report.norms)
            n_non_finite += report.n_non_finite
        else:
            # torch's own backward: for the book's small network it beats the book-keeping kernels
            loss.sum().backward()
        losses.append(loss.detach())
    every_loss = torch.cat(losses)
    seen = {"n_drawn": float(len(rows)), "loss": float(every_loss.mean()) if len(rows) else math.nan}
    if config.privacy is not None:
        every_norm = torch.cat(norms)
        over = (every_norm > config.privacy.max_grad_norm).float()
        seen |= {
            "median_norm": float(every_norm.median()) if len(rows) else math.nan,
            "share_clipped": float(over.mean()) if len(rows) else math.nan,
            "n_non_finite": float(n_non_finite),
        }
    return seen


def _physical_batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """``rows`` in pieces of at most ``size``; an empty draw is one empty piece, as it too takes a step."""
    return [rows[start : start + size] for start in range(0, len(rows), size)] or [rows]


def shuffled_batches(choice: OrdinaryBatches, n_images: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """``n_steps`` batches of row numbers of a fixed size, each pass over the images in a new order.

    What is left of a pass and is smaller than a batch is dropped; fewer images than a batch are all taken.
    """
    batch_size = min(choice.batch_size, n_images)
    order = rng.permutation(n_images)
    start = 0
    for _ in range(choice.n_steps):
        if start + batch_size > n_images:
            order, start = rng.permutation(n_images), 0
        yield order[start : start + batch_size]
        start += batch_size


def _divide_gradients(model: nn.Module, n_images: int) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.div_(n_images)


@torch.no_grad()
def predict(model: nn.Module, images: np.ndarray, transform: InputTransform, batch_size: int = 256) -> np.ndarray:
    """Scores of ``images``: ``(n, 5)`` float32 probabilities in the order of ``FINDINGS``.

    Args:
        model: A classifier with five outputs; evaluated in eval mode.
        images: ``(n, size, size)`` uint8; may be memory-mapped.
        transform: How pixels become input of this model.
        batch_size: Images at once.
    """
    model.eval()
    pieces = [
        torch.sigmoid(model(to_input(np.asarray(images[start : start + batch_size]), transform)))
        for start in range(0, len(images), batch_size)
    ]
    return torch.cat(pieces).numpy() if pieces else np.zeros((0, len(FINDINGS)), np.float32)
