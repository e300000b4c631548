"""What a study costs before anything runs: images, hours, disk, energy; each number a model, with what it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from dpcxr_core.config import FINDINGS, EvaluationChoice
from dpcxr_core.planning.cells import Cell, cell_name, tested_on
from dpcxr_core.planning.measured_speed import Speed, Way, checked_per_second, evaluated_per_second, speed_of
from dpcxr_core.planning.network_flops import is_small, network_size
from dpcxr_core.planning.set_sizes import SetSize, set_size
from dpcxr_core.planning.study_file import Study

SECONDS_PER_JOB = 20.0  # of Python, papermill and the chapter around a run; a cell of four steps took 23 in all
BYTES_PER_SCORE = 20  # of a file of scores; 11 were seen with the short ids of simulated images
N_DRAWN = 4  # metrics whose resamples are kept (evaluation.draws.DRAWN_METRICS)

# Assumptions about power, in watts.
WATTS_PER_GPU = 400  # the limit of an A100 SXM by its data sheet; the host around it comes on top
WATTS_PER_CORE = 10  # of a server's processor with its memory and supply

SUMMED = ["images_trained", "images_scored", "seconds", "gpu_hours", "core_hours", "disk_bytes", "kwh"]


@dataclass(frozen=True)
class _Images:
    """How many images a cell passes forward and backward, and forward alone; of these, how many are of test sets."""

    trained: float
    scored: float
    tested: float
    n_sets: int


def cost_table(cells: Mapping[Cell, tuple[str, ...]], study: Study) -> pd.DataFrame:
    """One row a cell: ``cell grid dataset architecture device``, then ``SUMMED``, then ``basis``.

    ``grid`` is the first one that asks for the cell. ``seconds`` are of starting, checking the store to train on,
    training and scoring, on one GPU or one core; ``core_hours`` also hold the evaluation. NaN where it cannot be told,
    and ``basis`` says why.

    Args:
        cells: With the grids that each is of.
        study: The study that they are of.
    """
    sizes = _sizes(cells, study)
    rows = []
    for cell, grids in cells.items():
        tested = {name: sizes[name, study.recipe_of(name, cell.image_recipe)] for name in tested_on(cell, study)}
        rows.append(_row(cell, grids[0], tested, study))
    return pd.DataFrame(rows)


def costs_by(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Sums of ``cost_table`` by ``column``, in the order met, with ``cells``, their number, and "all" at the end.

    A sum is NaN as soon as one of its cells is.
    """
    cells = table.groupby(column, sort=False).size().rename("cells")
    sums = table.groupby(column, sort=False)[SUMMED].sum(skipna=False)
    summed = pd.concat([cells, sums], axis=1)
    summed.loc["all"] = [len(table), *table[SUMMED].sum(skipna=False)]
    return summed.astype({"cells": int})


def store_table(cells: Iterable[Cell], study: Study) -> pd.DataFrame:
    """One row a data set and image recipe: its images by split, ``disk_bytes`` of its stores, and the ``source``."""
    rows = []
    for (dataset, image_recipe), size in _sizes(cells, study).items():
        image_size = study.data_choice(dataset, image_recipe).image_size
        row = {"dataset": dataset, "image_recipe": image_recipe, "image_size": image_size}
        row |= {"train": size.train, "valid": size.valid, "test": size.test}
        rows.append(row | {"disk_bytes": size.stored * image_size**2, "source": size.source})
    return pd.DataFrame(rows)


def _sizes(cells: Iterable[Cell], study: Study) -> dict[tuple[str, str], SetSize]:
    """Of every data set that a cell is tested on, by its name and image recipe, in the order met."""
    wanted = dict.fromkeys(
        (name, study.recipe_of(name, cell.image_recipe)) for cell in cells for name in tested_on(cell, study)
    )
    return {key: set_size(study.data_choice(*key)) for key in wanted}


def _row(cell: Cell, grid: str, sizes: Mapping[str, SetSize], study: Study) -> dict[str, object]:
    on_gpu = not is_small(cell.architecture)
    image_size = study.data_choice(cell.dataset, cell.image_recipe).image_size
    way: Way = "private" if cell.kind == "private" else "ordinary"
    speed = speed_of(cell.architecture, image_size, way, cell.recipe.precision, on_gpu=on_gpu)
    images = _images(cell, sizes)
    seconds = images.trained * speed.training + images.scored * speed.scoring + SECONDS_PER_JOB
    if images.trained:  # before the first step every byte is compared with its checksum
        seconds += sizes[cell.dataset].in_store * image_size**2 / checked_per_second()
    evaluating = images.tested * (1 + study.evaluation.n_resamples) / evaluated_per_second()
    gpu_seconds, core_seconds = (seconds, evaluating) if on_gpu else (0.0, seconds + evaluating)
    return {
        "cell": cell_name(cell),
        "grid": grid,
        "dataset": cell.dataset,
        "architecture": cell.architecture,
        "device": "GPU" if on_gpu else "core",
        "images_trained": images.trained,
        "images_scored": images.scored,
        "seconds": seconds,
        "gpu_hours": gpu_seconds / 3600,
        "core_hours": core_seconds / 3600,
        "disk_bytes": _record_bytes(cell, image_size, images, study.evaluation),
        "kwh": (gpu_seconds * WATTS_PER_GPU + core_seconds * WATTS_PER_CORE) / 3.6e6,
        "basis": _basis(speed, images, sizes[cell.dataset]),
    }


def _images(cell: Cell, sizes: Mapping[str, SetSize]) -> _Images:
    own = sizes[cell.dataset]
    held_out = sum(size.held_out for size in sizes.values()) + own.further
    tested = sum(size.test for size in sizes.values()) + own.further
    trained = {"public_only": 0.0, "non_private": _ordinary(cell), "private": _private(cell, own)}[cell.kind]
    return _Images(trained, held_out, tested, len(sizes))


def _ordinary(cell: Cell) -> float:
    return float(cell.recipe.ordinary_n_steps * cell.recipe.ordinary_batch_size)


def _private(cell: Cell, size: SetSize) -> float:
    """Images of all steps; where patients are unknown, each is taken to bring as many images as may enter."""
    mechanism, n_units, per_unit = cell.mechanism, cell.fraction * size.train, 1.0
    if cell.unit == "patient":
        n_units, limit = cell.fraction * size.patients, float(mechanism.max_images_per_patient)
        per_unit = limit if math.isnan(size.patients) else min(limit, size.train / size.patients)
    if mechanism.n_steps is None and math.isnan(n_units):
        return math.nan
    n_steps = mechanism.n_steps if mechanism.n_steps is not None else mechanism.steps(round(n_units))
    return n_steps * mechanism.expected_batch_size * per_unit * cell.recipe.augmentation_multiplicity


def _record_bytes(cell: Cell, image_size: int, images: _Images, evaluation: EvaluationChoice) -> float:
    """Of weights, scores, and the resamples of every group and finding that the evaluation keeps."""
    size = network_size(cell.architecture, image_size)
    weights = math.nan if size is None else 4.0 * size.n_parameters
    scores = images.scored * len(FINDINGS) * BYTES_PER_SCORE
    draws = (1 + evaluation.n_resamples) * n_groups(evaluation) * (len(FINDINGS) + 1) * N_DRAWN * 4
    return weights + scores + images.n_sets * draws


def n_groups(evaluation: EvaluationChoice) -> int:
    """Groups of the evaluation, all images among them; a column that only the cohort table knows is taken for four."""
    bands = len(evaluation.age_band_edges) - 1
    known = {"sex": 2, "age_band": bands, "sex_and_age": 2 * bands, "view": 2}
    return 1 + sum(known.get(column, 4) for column in evaluation.group_columns)


def _basis(speed: Speed, images: _Images, size: SetSize) -> str:
    if math.isnan(images.trained) or math.isnan(images.scored):
        return f"images: {size.source}"
    return speed.basis
