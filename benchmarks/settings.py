"""What is measured: networks and images of a setting, and how thorough a run of the benchmark is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dpcxr_core.config import FINDINGS
from dpcxr_core.privacy.awakened import awakened
from dpcxr_core.training.architectures import build_architecture, per_image_input
from dpcxr_core.training.device import Compute, find_compute, prepare_model
from dpcxr_core.workers import keep_freed_memory


@dataclass(frozen=True)
class Setting:
    """One network and batch.

    Attributes:
        architecture: A name of ``build_architecture``.
        size: Height and width of an image, in pixels.
        batch: Images of a step.
    """

    architecture: str
    size: int
    batch: int

    @property
    def columns(self) -> dict[str, str | int]:
        """What every row of a result about this setting begins with."""
        return {"architecture": self.architecture, "size": self.size, "batch": self.batch}


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        steps: Setting -> rounds of every method, and of those of Opacus, which are slow.
        memory: Settings whose peak memory is measured.
        batches: Of the growth with batch size; larger ones than ``physical_batch`` are processed in such pieces.
        networks: Of the growth with model size.
        growth_rounds: Rounds of each point of the growth.
        physical_batch: Images at once in the growth with batch size.
        other_rounds: Rounds of noise and of loading.
    """

    steps: dict[Setting, tuple[int, int]]
    memory: tuple[Setting, ...]
    batches: tuple[int, ...]
    networks: tuple[str, ...]
    growth_rounds: int
    physical_batch: int = 64
    other_rounds: int = 9


_MINI = Setting("convnext_mini", 64, 64)
_ATTO = Setting("convnext_atto", 64, 64)
_TINY = Setting("convnext_tiny", 128, 16)
_FULL_STEPS = {
    _MINI: (15, 5),
    _ATTO: (11, 3),
    _TINY: (9, 2),
    Setting("convnext_tiny", 224, 8): (5, 1),
    Setting("convnext_small", 224, 4): (3, 1),
}
FULL = Plan(
    steps=_FULL_STEPS,
    memory=(_MINI, _ATTO, _TINY),
    batches=(8, 16, 32, 64, 128, 256, 512),
    networks=tuple(f"convnext_{name}" for name in ("mini", "atto", "femto", "pico", "nano", "tiny")),
    growth_rounds=3,
)
QUICK = Plan(
    steps={_MINI: (3, 1), _ATTO: (3, 1)},
    memory=(_MINI,),
    batches=(8, 128),
    networks=("convnext_mini", "convnext_atto"),
    growth_rounds=1,
    other_rounds=3,
)
GROWTH_BATCH = Setting("convnext_atto", 64, 64)  # whose batch grows
GROWTH_MODEL = Setting("convnext_atto", 64, 16)  # whose network grows


def exact_compute() -> Compute:
    """The GPU if there is one, else the CPU, with float32 products that are float32 for every method alike."""
    compute = find_compute("float32")
    prepare_model(nn.Identity(), compute)
    keep_freed_memory()  # as processes that train do
    return compute


def network(architecture: str, compute: Compute) -> nn.Module:
    """Random weights, every layer reached by gradients, contiguous, in train mode."""
    model = build_architecture(architecture, n_outputs=len(FINDINGS), seed=0)
    return awakened(model, seed=0).to(compute.device)


def batch_of(architecture: str, size: int, n_images: int, compute: Compute) -> tuple[Tensor, Tensor]:
    """Noise images and random labels: ``(n_images, channels, size, size)`` and ``(n_images, 5)``."""
    generator = torch.Generator().manual_seed(0)
    channels = per_image_input(architecture).in_chans
    images = torch.randn(n_images, channels, size, size, generator=generator)
    labels = (torch.rand(n_images, len(FINDINGS), generator=generator) < 0.3).float()
    return images.to(compute.device), labels.to(compute.device)
