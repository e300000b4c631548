"""Pictures to look at, drawn at random: by data set, by finding, and simulated ones where no other may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.describing.origins import pictures_may_be_shown
from dpcxr_core.data.simulation.prepare_simulated import DRAWN
from dpcxr_core.data.simulation.simulated import render, simulate_cohort
from dpcxr_core.data.store import ImageStore

_STAND_IN = "sim-a"
_N_DRAWN = 240  # enough for some of every finding


def stores_to_show(
    stores: Mapping[str, ImageStore], facts: Mapping[str, dict[str, Any] | None], *, size: int, seed: int
) -> dict[str, ImageStore]:
    """The ``stores`` whose pictures may be shown; if there is none, one with pictures drawn here.

    Args:
        stores: By name.
        facts: Their manifests, by name; None where there is none.
        size: Side of the pictures drawn here, in pixels.
        seed: Seeds them.
    """
    allowed = {name: store for name, store in stores.items() if pictures_may_be_shown(store, facts[name])}
    if allowed:
        return allowed
    simulation = simulate_cohort(_STAND_IN, n_train=_N_DRAWN, n_valid=0, n_test=0, seed=seed)
    images = render(simulation, np.arange(_N_DRAWN), size)
    drawn = ImageStore(Path(), images, simulation.cohort, {"recipe": {"name": DRAWN}})
    return {f"{_STAND_IN}, simulated": drawn}


def gallery_by_dataset(stores: Mapping[str, ImageStore], *, n_each: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Images drawn at random, ``n_each`` of every store, and a title for the first of each.

    Returns:
        ``(n_stores * n_each, size, size)`` uint8 and as many titles.
    """
    rng = np.random.default_rng(seed)
    images, titles = [], []
    for name, store in stores.items():
        rows = np.sort(rng.choice(len(store.images), size=min(n_each, len(store.images)), replace=False))
        images += [store.images[rows]]
        titles += [name, *[""] * (len(rows) - 1)]
    return np.concatenate(images), titles


def gallery_by_finding(store: ImageStore, *, n_each: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Images row by row, one column a finding; the first row is titled.

    A finding with fewer than ``n_each`` positive images repeats some; one without any stays dark.

    Returns:
        ``(n_each * 5, size, size)`` uint8 and as many titles.
    """
    rng = np.random.default_rng(seed)
    columns = []
    for finding in FINDINGS:
        positive = np.flatnonzero(store.cohort[finding] == 1)
        if len(positive) == 0:
            columns.append(np.zeros((n_each, *store.images.shape[1:]), np.uint8))
            continue
        few = len(positive) < n_each
        columns.append(store.images[np.sort(rng.choice(positive, size=n_each, replace=few))])
    by_row = np.stack(columns, axis=1).reshape(-1, *store.images.shape[1:])
    titles = [finding.replace("_", " ") for finding in FINDINGS]
    return by_row, titles + [""] * (len(by_row) - len(titles))
