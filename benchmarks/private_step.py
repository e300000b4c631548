"""What one private step costs beside an ordinary one: every method in turn, in one process, on the same work.

Run with ``make bench``. Each round times one step of every method; the table gives medians over rounds with their
range, and ratios to the ordinary step as medians of per-round ratios.
"""

from __future__ import annotations

import argparse
import copy
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from opacus import GradSampleModule
from tqdm import tqdm

from dpcxr_core.config import FINDINGS, PrivacySpecification
from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.provenance import versions
from dpcxr_core.training.architectures import build_architecture, per_image_input
from dpcxr_core.training.loop import loss_per_image

RESULTS = Path(__file__).parent / "results"
Step = Callable[[], None]


def ordinary(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """Plain autograd, no clipping and no noise."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        loss_per_image(model(images), labels).sum().backward()

    return step


def ours(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, noisy: bool) -> Step:
    """Book-keeping, with or without noise."""
    keeper = attach(model)
    specification = PrivacySpecification(
        sample_rate=0.1,
        n_steps=1,
        expected_batch_size=len(images),
        max_grad_norm=0.5,
        noise_multiplier=1.0,
        delta=1e-5,
    )
    rng = np.random.default_rng(0)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        keeper.add_clipped_sum(loss_per_image(model(images), labels), specification.max_grad_norm)
        if noisy:
            privatise(model.parameters(), specification, rng)

    return step


def ours_ordinary(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """The book-keeping kernels without clipping and without noise."""
    keeper = attach(model)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        keeper.add_sum(loss_per_image(model(images), labels))

    return step


def opacus(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """Opacus in its right mode (functorch), per-image gradients and clipping, no noise."""
    wrapped = GradSampleModule(model, loss_reduction="sum", force_functorch=True)

    def step() -> None:
        wrapped.zero_grad(set_to_none=True)
        loss_per_image(wrapped(images), labels).sum().backward()
        per_image = [parameter.grad_sample for parameter in wrapped.parameters()]
        norms = torch.stack([each.flatten(1).norm(dim=1) for each in per_image]).norm(dim=0)
        factors = (0.5 / norms).clamp(max=1.0)
        for parameter, each in zip(wrapped.parameters(), per_image, strict=True):
            parameter.grad = torch.einsum("n,n...->...", factors, each)
            parameter.grad_sample = None

    return step


def measure(architecture: str, size: int, batch: int, rounds: int) -> pd.DataFrame:
    """Seconds of one step of every method, one row a method and round."""
    model = build_architecture(architecture, n_outputs=len(FINDINGS), seed=0).train()
    generator = torch.Generator().manual_seed(0)
    channels = per_image_input(architecture).in_chans
    images = torch.randn(batch, channels, size, size, generator=generator)
    labels = (torch.rand(batch, len(FINDINGS), generator=generator) < 0.3).float()
    steps = {
        "ordinary": ordinary(copy.deepcopy(model), images, labels),
        "ours, ordinary": ours_ordinary(copy.deepcopy(model), images, labels),
        "ours, noise off": ours(copy.deepcopy(model), images, labels, noisy=False),
        "ours, with noise": ours(copy.deepcopy(model), images, labels, noisy=True),
        "Opacus functorch, noise off": opacus(copy.deepcopy(model), images, labels),
    }
    rows = []
    for step in steps.values():
        step()  # warm-up: kernels are chosen and memory is taken once
    for turn in tqdm(range(rounds), desc=f"{architecture} {size} px, batch {batch}"):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            rows.append({"method": name, "round": turn, "seconds": time.perf_counter() - started})
    return pd.DataFrame(rows).assign(architecture=architecture, size=size, batch=batch)


def summarise(times: pd.DataFrame) -> pd.DataFrame:
    """Medians with range, and ratios to the ordinary step."""
    rows = []
    for setting, here in times.groupby(["architecture", "size", "batch"], sort=False):
        wide = here.pivot(index="round", columns="method", values="seconds")
        for method in here["method"].unique():
            ratio = wide[method] / wide["ordinary"]
            rows.append(
                {
                    "setting": f"{setting[0]}, {setting[1]} px, batch {setting[2]}",
                    "method": method,
                    "milliseconds": f"{1e3 * wide[method].median():.1f} "
                    f"[{1e3 * wide[method].min():.1f}, {1e3 * wide[method].max():.1f}]",
                    "ratio to ordinary": f"{ratio.median():.2f} [{ratio.min():.2f}, {ratio.max():.2f}]",
                }
            )
    return pd.DataFrame(rows).set_index(["setting", "method"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = [("convnext_mini", 64, 64), ("convnext_atto", 64, 64)]
    times = pd.concat([measure(*setting, options.rounds) for setting in settings], ignore_index=True)
    table = summarise(times).to_string()
    heading = f"{platform.machine()}, {options.threads} thread(s), {options.rounds} rounds; {versions()}"
    assert np.isfinite(times["seconds"]).all()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "private_step.txt").write_text(f"{heading}\n{table}\n")
    print(heading, table, sep="\n")


if __name__ == "__main__":
    main()
