"""What surrounds a step: numbers of noise by several generators, and images on their way from disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from benchmarks.settings import Setting
from dpcxr_core.data.images import to_input
from dpcxr_core.privacy.gaussian import standard_normal
from dpcxr_core.privacy.streams import seeded_streams
from dpcxr_core.training.architectures import per_image_input
from dpcxr_core.training.augmentation import draw_shifts, shift_images
from dpcxr_core.training.loading import read_rows

_N_NUMBERS = 4_000_000
_STORE_BYTES = 100_000_000
_MAX_SHIFT = 3  # pixels, as in training
_BATCHES_A_ROUND = 10


def noise_times(rounds: int, n: int = _N_NUMBERS) -> pd.DataFrame:
    """``generator round seconds n``: float32 standard normal numbers on the CPU, process CPU time."""
    rng = seeded_streams(0).at("noise", 0)
    torch_generator = torch.Generator().manual_seed(0)
    generators: dict[str, Callable[[], object]] = {
        "standard_normal (ours)": lambda: standard_normal(n, rng),
        "numpy SFC64, float32": lambda: rng.standard_normal(n, dtype=np.float32),
        "numpy SFC64, float64": lambda: rng.standard_normal(n),
        "torch.normal": lambda: torch.normal(0.0, 1.0, (n,), generator=torch_generator),
        "torch normal_": lambda: torch.empty(n).normal_(generator=torch_generator),
    }
    rows = []
    for turn in range(rounds):
        for name, draw in generators.items():
            started = time.process_time()
            draw()
            rows.append({"generator": name, "round": turn, "seconds": time.process_time() - started, "n": n})
    return pd.DataFrame(rows)


def loading_times(settings: list[Setting], rounds: int) -> pd.DataFrame:
    """``architecture size batch round seconds``: CPU time of one batch from a memory-mapped store to network input.

    Rows at random from a store of 100 MB that the operating system has in memory: what is measured is the work of
    the processor, not the disk.
    """
    rows = []
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        for setting in settings:
            images = _store(Path(folder) / f"images_{setting.size}.npy", setting.size, rng)
            transform = per_image_input(setting.architecture)
            for turn in range(rounds):
                chosen = rng.integers(0, len(images), (_BATCHES_A_ROUND, setting.batch))
                started = time.process_time()
                for each in chosen:
                    shifts = draw_shifts(len(each), _MAX_SHIFT, rng)
                    to_input(shift_images(read_rows(images, each), shifts), transform)
                seconds = (time.process_time() - started) / _BATCHES_A_ROUND
                rows.append(setting.columns | {"round": turn, "seconds": seconds})
    return pd.DataFrame(rows)


def _store(path: Path, size: int, rng: np.random.Generator) -> np.ndarray:
    """A memory-mapped store of random images, as ``dpcxr_core.data.store`` maps it."""
    if not path.is_file():
        n = max(1, _STORE_BYTES // size**2)
        np.save(path, rng.integers(0, 256, (n, size, size), dtype=np.uint8))
    return np.load(path, mmap_mode="r")
