"""Pretraining without labels: VICReg on random views of grey images."""

from __future__ import annotations

import math

import numpy as np
import torch
from lightly.loss import VICRegLoss
from torch import Tensor, nn
from torch.nn import functional

from dpcxr_core.config import UserError
from dpcxr_core.data.images import to_input
from dpcxr_core.training.architectures import build_architecture, per_image_input, pooled_features
from dpcxr_core.training.pretraining import (
    Pretrained,
    PretrainingData,
    PretrainingRecipe,
    take_steps,
)

_PROJECTOR_WIDTH = 256
_BLUR_RADIUS = 2  # pixels


def pretrain_vicreg(data: PretrainingData, recipe: PretrainingRecipe, *, progress: bool) -> Pretrained:
    """A network trained from random weights to give two views of one image like features.

    The loss pulls the two views of an image together, keeps each feature's spread over the batch
    above one and decorrelates features. It reads features through a projector of width 256, which is
    thrown away. The network that remains has no head.

    Raises:
        UserError: ``recipe.kind`` is not "vicreg", or the loss is no longer finite.

    Source:
        Bardes, Ponce, LeCun (2022), VICReg, arXiv:2105.04906; loss of lightly, weights 25, 25, 1.
    """
    if recipe.kind != "vicreg":
        raise UserError(f"pretrain_vicreg takes recipes of kind 'vicreg'; got {recipe.kind!r}")
    transform = per_image_input(recipe.architecture)
    rng = np.random.default_rng(recipe.seed)
    model = build_architecture(recipe.architecture, n_outputs=0, seed=recipe.seed)
    projector = _projector(int(model.num_features), recipe.seed)  # type: ignore[arg-type]
    model.train()
    vicreg = VICRegLoss()

    def add_gradient(rows: np.ndarray) -> float:
        pictures = data.images[rows]
        views = np.concatenate([random_views(pictures, rng), random_views(pictures, rng)])
        first, second = projector(pooled_features(model, to_input(views, transform))).chunk(2)
        loss = vicreg(first, second)
        loss.backward()
        return float(loss.detach())

    both = nn.ModuleList([model, projector])
    losses = take_steps(both, recipe, len(data.images), add_gradient, progress=progress)
    return Pretrained(model.state_dict(), (), losses)


def _projector(n_features: int, seed: int) -> nn.Module:
    width = _PROJECTOR_WIDTH
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(n_features, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
        )


def random_views(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One random view of each image: ``(n, size, size)`` uint8, as ``images``.

    A view is a crop of 30 to 100 per cent of the area and of aspect 3:4 to 4:3, resized to the whole,
    mirrored for half of the images; then contrast times 0.6 to 1.4, gamma 0.5 to 2 and, for half of
    them, a Gaussian blur of 0.3 to 1.5 pixels. Every draw is independent between images.

    Args:
        images: ``(n, size, size)`` uint8; n at least 1.
        rng: Draws the views.
    """
    n = len(images)
    grey = torch.tensor(images, dtype=torch.float32)[:, None] / 255
    grey = _random_crop(grey, rng)
    mean = grey.mean((1, 2, 3), keepdim=True)
    grey = ((grey - mean) * _column(rng.uniform(0.6, 1.4, n)) + mean).clamp(0, 1)
    grey = grey ** _column(2 ** rng.uniform(-1, 1, n))
    blur = np.where(rng.random(n) < 0.5, rng.uniform(0.3, 1.5, n), 0.05)  # 0.05: too narrow to change a pixel
    grey = _gaussian_blur(grey, _column(blur))
    return (grey[:, 0] * 255).round().to(torch.uint8).numpy()


def _column(values: np.ndarray) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


def _random_crop(grey: Tensor, rng: np.random.Generator) -> Tensor:
    """Each image's crop, resized to the whole by bilinear sampling."""
    n = len(grey)
    area = rng.uniform(0.3, 1.0, n)
    aspect = np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), n))
    width = np.minimum(np.sqrt(area * aspect), 1.0)
    height = np.minimum(np.sqrt(area / aspect), 1.0)
    mirror = rng.choice([-1.0, 1.0], n)
    # in the coordinates of affine_grid the image spans -1 to 1, so a crop's centre can move by 1 - extent
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 2] = width * mirror, rng.uniform(-1, 1, n) * (1 - width)
    theta[:, 1, 1], theta[:, 1, 2] = height, rng.uniform(-1, 1, n) * (1 - height)
    grid = functional.affine_grid(torch.from_numpy(theta), list(grey.shape), align_corners=False)
    return functional.grid_sample(grey, grid, padding_mode="border", align_corners=False)


def _gaussian_blur(grey: Tensor, sd_pixels: Tensor) -> Tensor:
    """Each image blurred by its own Gaussian, cut at two pixels; borders are repeated."""
    n, _, height, width = grey.shape
    offsets = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sd_pixels) ** 2)
    kernel = kernel / kernel.sum(-1, keepdim=True)
    pad = (_BLUR_RADIUS,) * 4
    # the batch becomes channels, so that one grouped convolution takes each image with its own kernel
    rows = functional.pad(grey.view(1, n, height, width), pad, mode="replicate")
    rows = functional.conv2d(rows, kernel, groups=n)
    return functional.conv2d(rows, kernel.transpose(2, 3), groups=n).view(n, 1, height, width)
