"""The private training of the loop with the gradients of another engine: all else equal, down to the noise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dpcxr_core.config import PrivacySpecification, RunConfig, UserError
from dpcxr_core.data.images import InputTransform
from dpcxr_core.other_engines.opacus_engine import OpacusMethod, wrap
from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.streams import seeded_streams
from dpcxr_core.privacy.units import units_of
from dpcxr_core.training.optimisation import learning_rate_at, loss_per_image, make_optimizer
from dpcxr_core.training.ranks import ALONE
from dpcxr_core.training.steps import private_batches
from dpcxr_core.training.training_set import TrainingData, load_batch

# Adds the clipped sum of images and targets to each ``.grad``, given the clip norm.
AddClippedSum = Callable[[Tensor, Tensor, float], None]


@dataclass(frozen=True)
class Update:
    """Where a training stands after one step.

    Attributes:
        step: From 0.
        model: As updated, in train mode; it goes on changing.
    """

    step: int
    model: nn.Module


def private_updates(
    model: nn.Module,
    data: TrainingData,
    config: RunConfig,
    transform: InputTransform,
    method: OpacusMethod | None,
) -> Iterator[Update]:
    """Each step of the private run ``config``, clipped by Opacus' ``method`` or, with None, by this project.

    Promise:
        Weights to start from, draws, shifts, noise, learning rates and the divisor are functions of ``config``
        alone, so two methods differ in the per-image gradients and in nothing else.

    Args:
        model: To start from; it is left alone.
        data: Images to train on.
        config: A seeded private run with the image as its unit, flat clipping, one view an image, float32 and no
            moving average.
        transform: How pixels become input of this model.
        method: Whose gradients.

    Raises:
        UserError: ``config`` is another run than that; the message names what to change.
    """
    if config.privacy is None or config.optimisation is None or config.randomness != "seeded":
        raise UserError(f"only seeded private runs can be repeated; got a {config.kind} run, {config.randomness}")
    _refuse_what_opacus_does_not_do(config, config.privacy)
    trained, add_clipped_sum = _ours(model) if method is None else _opacus(model, method)
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(trained, config.optimisation)
    streams = seeded_streams(config.seed)
    units = units_of(config.privacy, np.arange(data.n_images))
    _zero_gradients(parameters)
    for drawn in private_batches(config, units, streams, ALONE):
        batch = load_batch(data, transform, drawn)
        if len(batch.labels):
            trained.train()
            add_clipped_sum(batch.pictures, batch.labels, config.privacy.max_grad_norm)
        if not drawn.is_last:
            continue
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(drawn.step, config.privacy.n_steps, config.optimisation)
        privatise(parameters, config.privacy, streams, drawn.step)
        optimizer.step()
        yield Update(drawn.step, trained)
        _zero_gradients(parameters)


def _refuse_what_opacus_does_not_do(config: RunConfig, privacy: PrivacySpecification) -> None:
    compared = [
        ("privacy_unit", privacy.privacy_unit, "image"),
        ("clipping", privacy.clipping, "flat"),
        ("augmentation_multiplicity", config.augmentation_multiplicity, 1),
        ("ema_decay", config.ema_decay, 0.0),
        ("precision", config.precision, "float32"),
    ]
    for name, value, needed in compared:
        if value != needed:
            raise UserError(f"Opacus is compared on plain DP-SGD of images: {name} must be {needed!r}; got {value!r}")


def _ours(model: nn.Module) -> tuple[nn.Module, AddClippedSum]:
    copied = copy.deepcopy(model)
    keeper = attach(copied)

    def add(images: Tensor, labels: Tensor, max_grad_norm: float) -> None:
        keeper.add_clipped_sum(loss_per_image(copied(images), labels), max_grad_norm)

    return copied, add


def _opacus(model: nn.Module, method: OpacusMethod) -> tuple[nn.Module, AddClippedSum]:
    engine = wrap(model, method)

    def add(images: Tensor, labels: Tensor, max_grad_norm: float) -> None:
        engine.add_clipped_sum(images, labels, loss_per_image, max_grad_norm)

    return engine.model, add


def _zero_gradients(parameters: list[nn.Parameter]) -> None:
    # Zeros and not None: Opacus cannot take the empty draws of ConvNeXt, yet they too get a noisy step.
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
