"""Pretraining without privacy, on public images: the recipe, the steps, and training with labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from dpcxr_core.config import OptimisationChoice, OrdinaryBatches, UserError
from dpcxr_core.data.images import to_input
from dpcxr_core.privacy.streams import seeded_streams
from dpcxr_core.training.architectures import build_architecture, per_image_input
from dpcxr_core.training.augmentation import draw_shifts, shift_images
from dpcxr_core.training.fast_depthwise import fast_depthwise
from dpcxr_core.training.optimisation import learning_rate_at, loss_per_image, make_optimizer
from dpcxr_core.training.steps import shuffled_batches


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe:
    """How a stand-in initialisation is pretrained.

    Attributes:
        kind: "labels" (several yes-or-no labels an image), "classes" (one class an image) or
            "vicreg" (no labels).
        batches: Updates, and images of one update.
        optimisation: How gradients become updates.
        architecture: The network.
        max_shift: Augmentation with labels: one random shift per image of at most this many pixels.
        seed: Seeds the first weights, the batches and the augmentation.
    """

    kind: Literal["labels", "classes", "vicreg"]
    batches: OrdinaryBatches
    optimisation: OptimisationChoice
    architecture: str = "convnext_mini"
    max_shift: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("labels", "classes", "vicreg"):
            raise UserError(f"kind must be 'labels', 'classes' or 'vicreg'; got {self.kind!r}")
        if self.kind == "vicreg" and self.batches.batch_size < 2:
            raise UserError(f"vicreg compares images, so batch_size must be at least 2; got {self.batches}")
        if self.max_shift < 0:
            raise UserError(f"max_shift must not be negative; got {self.max_shift}")
        if self.seed < 0:
            raise UserError(f"seed must not be negative; got {self.seed}")


@dataclass(frozen=True)
class PretrainingData:
    """Public images, with what each output of a supervised head is to say.

    Attributes:
        images: ``(n, size, size)`` uint8; may be memory-mapped.
        targets: For kind "labels" ``(n, k)`` float: 1, 0 or NaN. For "classes" ``(n,)`` integers in
            ``[0, k)``. None for "vicreg".
        names: The k labels or classes, in the order of the outputs; empty for "vicreg".
    """

    images: np.ndarray
    targets: np.ndarray | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise UserError(f"images must be (n, size, size) uint8; got {self.images.shape} {self.images.dtype}")
        if self.targets is not None and len(self.targets) != len(self.images):
            raise UserError(f"{len(self.images)} images need as many targets; got {len(self.targets)}")


@dataclass(frozen=True)
class Pretrained:
    """What pretraining gave.

    Attributes:
        state: State dict of the network; with its head where ``head_outputs`` is not empty.
        head_outputs: What the outputs of the head stand for.
        losses: ``(n_steps,)`` float: mean loss of the images of each step, before its update.
    """

    state: dict[str, Tensor]
    head_outputs: tuple[str, ...]
    losses: np.ndarray


def pretrain_supervised(data: PretrainingData, recipe: PretrainingRecipe, *, progress: bool) -> Pretrained:
    """A network trained from random weights to tell the labels or classes of ``data``.

    Raises:
        UserError: The targets do not fit ``recipe.kind``, or the loss is no longer finite.
    """
    loss_of = _loss_for(data, recipe)
    transform = per_image_input(recipe.architecture)
    rng = np.random.default_rng(recipe.seed)
    model = build_architecture(recipe.architecture, n_outputs=len(data.names), seed=recipe.seed)
    model.train()

    def add_gradient(rows: np.ndarray) -> float:
        pictures = shift_images(data.images[rows], draw_shifts(len(rows), recipe.max_shift, rng))
        loss = loss_of(model(to_input(pictures, transform)), rows).mean()
        loss.backward()
        return float(loss.detach())

    losses = take_steps(model, recipe, len(data.images), add_gradient, progress=progress)
    return Pretrained(model.state_dict(), data.names, losses)


def take_steps(
    parts: nn.Module,
    recipe: PretrainingRecipe,
    n_images: int,
    add_gradient: Callable[[np.ndarray], float],
    *,
    progress: bool,
) -> np.ndarray:
    """The loss before each of the recipe's updates of ``parts``: ``(n_steps,)`` float.

    Args:
        parts: Everything to train.
        recipe: Batches and the seed that draws them, optimisation and schedule.
        n_images: Images to draw batches from.
        add_gradient: Adds the mean gradient of the images in the given rows into ``.grad`` of
            ``parts`` and returns their mean loss.
        progress: Show a bar.

    Raises:
        UserError: There are fewer images than one batch takes, or the loss is no longer finite.
    """
    if n_images < recipe.batches.batch_size:
        raise UserError(f"batch_size {recipe.batches.batch_size} is more than {n_images} images; lower it")
    optimizer = make_optimizer(parts, recipe.optimisation)
    n_steps = recipe.batches.n_steps
    losses = np.full(n_steps, np.nan)
    draws = shuffled_batches(recipe.batches, n_images, seeded_streams(recipe.seed))
    bar = tqdm(draws, total=n_steps, desc=f"pretraining ({recipe.kind})", disable=not progress, mininterval=2)
    with fast_depthwise(parts):
        for step, rows in enumerate(bar):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, n_steps, recipe.optimisation)
            optimizer.zero_grad(set_to_none=True)
            losses[step] = add_gradient(rows)
            if not math.isfinite(losses[step]):
                raise UserError(
                    f"pretraining diverged: the loss is {losses[step]} at step {step} of {n_steps}; lower "
                    f"learning_rate ({recipe.optimisation.learning_rate:g})"
                )
            optimizer.step()
    return losses


def _loss_for(data: PretrainingData, recipe: PretrainingRecipe) -> Callable[[Tensor, np.ndarray], Tensor]:
    """Loss of each image, from its logits and its row."""
    n_outputs = len(data.names)
    if recipe.kind == "vicreg" or data.targets is None:
        raise UserError(f"supervised pretraining needs targets and a kind with labels; got {recipe.kind!r}")
    if recipe.kind == "labels":
        if data.targets.shape[1:] != (n_outputs,):
            raise UserError(f"targets must be (n, {n_outputs}), a column a name; got {data.targets.shape}")
        labels = torch.tensor(data.targets, dtype=torch.float32)
        if not ((labels == 0) | (labels == 1) | labels.isnan()).all():
            raise UserError("labels must be 0, 1 or NaN")
        return lambda logits, rows: loss_per_image(logits, labels[rows])
    classes = data.targets
    if classes.ndim != 1 or classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= n_outputs:
        raise UserError(f"classes must be (n,) integers below {n_outputs}; got {classes.dtype} up to {classes.max()}")
    wanted = torch.tensor(classes, dtype=torch.int64)
    return lambda logits, rows: nn.functional.cross_entropy(logits, wanted[rows], reduction="none")
