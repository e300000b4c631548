"""From a simulated hospital to a finished image store, with the truth beside the cohort table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.simulation.simulated import SMALLEST_SIZE, render, simulate_cohort
from dpcxr_core.data.store import DESCRIPTION_FILE
from dpcxr_core.data.storing.prepare_report import PrepareReport, reported
from dpcxr_core.data.storing.shards import store_folder
from dpcxr_core.data.storing.store_writing import Rendered, check_choices, write_store

DRAWN = "simulated"  # the recipe of stores whose images are drawings, and the manifest of their data sets


def prepare_simulated(
    out: Path,
    *,
    hospital: str,
    n_train: int,
    n_valid: int,
    n_test: int,
    seed: int,
    size: int,
    world: str = "declared",
    jobs: int = 1,
    progress: bool = True,
) -> PrepareReport:
    """The report of drawing a simulated hospital into the image store ``out``, with ``truth.parquet`` in it.

    Args:
        out: Folder of the store.
        hospital: One of the simulated hospitals, see ``dpcxr_core.data.simulation.simulated``.
        n_train: Images in the split "train".
        n_valid: Images in the split "valid".
        n_test: Images in the split "test".
        seed: Seeds patients, labels and images.
        size: Height and width of the images in pixels, 32 to 2048.
        world: "declared" or "null": what sex and age really do.
        jobs: Groups of images drawn at once, at least 1.
        progress: Whether to say how far it is.

    Raises:
        UserError: A choice is out of range, or ``out`` was made with other choices.
    """
    out = store_folder(out)
    check_choices(size, jobs)
    if size < SMALLEST_SIZE:
        raise UserError(f"simulated images have at least {SMALLEST_SIZE} pixels a side; got {size}")
    already_finished = (out / DESCRIPTION_FILE).is_file()
    simulation = simulate_cohort(hospital, n_train, n_valid, n_test, seed, world=world)

    with ThreadPoolExecutor(jobs) as pool:

        def drawn(rows: np.ndarray) -> Rendered:
            parts = [part for part in np.array_split(rows, jobs) if len(part)]
            return Rendered(np.concatenate(list(pool.map(lambda part: render(simulation, part, size), parts))))

        store = write_store(
            out,
            _named_by_world(simulation.cohort, hospital, world),
            partial(map, drawn),
            size=size,
            recipe={"name": DRAWN, "drawn_by": f"dpcxr-core {version('dpcxr-core')}"},
            choices={"hospital": hospital, "world": world, "seed": seed, "n": [n_train, n_valid, n_test]},
            companions={"truth": _named_by_world(simulation.truth, hospital, world)},
            progress=progress,
        )
    return reported(store, (), {}, already_finished=already_finished)


def _named_by_world(table: pd.DataFrame, hospital: str, world: str) -> pd.DataFrame:
    """``table`` with names of its own for another world, so that two worlds of a hospital can be told apart."""
    if world == "declared":
        return table
    names = [name for name in ("dataset", "image_id", "patient_id") if name in table]
    return table.assign(**{name: table[name].str.replace(hospital, f"{hospital}-{world}") for name in names})
