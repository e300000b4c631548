"""The cells of a study: every run that it asks for, once."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pandas as pd

from dpcxr_core.config import content_key
from dpcxr_core.planning.grid import Grid, Mechanism
from dpcxr_core.planning.study_file import Study
from dpcxr_core.study.grid import Recipe

Head = Literal["reset", "kept"]
# of a recipe, what a run without privacy does not depend on
_PRIVATE_ONLY = (
    *("optimizer", "learning_rate_times_noise_multiplier", "learning_rate", "private_weight_decay"),
    *("augmentation_multiplicity", "ema_decay", "randomness"),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a study, as its file names things. What has no influence on a run has its main grid's value.

    Attributes:
        dataset: Name in the study of the data set trained on.
        initialisation: Its short name.
        architecture: Name of the network.
        head: "reset" or "kept".
        target_epsilon: Infinity for a run without privacy, None for the public-only model.
        unit: Whose data is protected.
        fraction: Share of the training patients.
        seed: Of batches, noise and random weights.
        image_recipe: Of real images.
        normalisation: "of_weights" or "none".
        mechanism: Of a private run.
        recipe: How it trains.
    """

    dataset: str
    initialisation: str
    architecture: str
    head: Head
    target_epsilon: float | None
    unit: Literal["image", "patient"]
    fraction: float
    seed: int
    image_recipe: Literal["corrected", "as_published"]
    normalisation: Literal["of_weights", "none"]
    mechanism: Mechanism
    recipe: Recipe

    @property
    def kind(self) -> Literal["private", "non_private", "public_only"]:
        """What this run is, in the words of ``RunConfig.kind``."""
        if self.target_epsilon is None:
            return "public_only"
        return "private" if math.isfinite(self.target_epsilon) else "non_private"


def cells_of(study: Study) -> dict[Cell, tuple[str, ...]]:
    """Every cell of ``study`` once, with the names of the grids that it is of.

    Cells whose weights others start from come first, each before those that start from it and with their grids; then
    the file's order.
    """
    asked = [(cell, name) for name, grid in study.grids.items() for cell in _cells_of_grid(grid, study)]
    grids: dict[Cell, dict[str, None]] = {}
    for cell, name in asked:
        for before in _pretrainings_of(cell, study):
            grids.setdefault(before, {})[name] = None
    for cell, name in asked:
        grids.setdefault(cell, {})[name] = None
    return {cell: tuple(names) for cell, names in grids.items()}


def pretraining_of(cell: Cell, study: Study) -> Cell | None:
    """The cell whose weights ``cell`` starts from; None where its initialisation has weights of its own.

    It sees images of the same recipe and normalisation, all of them, without privacy, with the study's first seed.
    """
    choice = study.initialisations[cell.initialisation]
    if choice.trained_on is None or choice.start is None:
        return None
    before = replace(
        cell,
        dataset=choice.trained_on,
        initialisation=choice.start,
        head="reset",
        target_epsilon=math.inf,
        fraction=1.0,
        seed=study.main.seeds[0],
    )
    return _canonical(before, study)


def tested_on(cell: Cell, study: Study) -> tuple[str, ...]:
    """Names in the study of the data sets whose held-out images the cell is tested on, its own first.

    A cell on a target is tested on every target; one that pretrains, on its own set alone. Whatever further sets
    (simulated hospitals) the data job of ``cell.dataset`` has come on top.
    """
    others = study.data if cell.dataset in study.data else ()
    return (cell.dataset, *(name for name in others if name != cell.dataset))


def cell_name(cell: Cell) -> str:
    """A name fit for files: readable, and at its end six digits of the content of the cell."""
    own_head = ["own_head"] if cell.head == "kept" and cell.kind == "private" else []
    level = f"eps{cell.target_epsilon:g}" if cell.kind == "private" else cell.kind
    unit = ["patient"] if cell.unit == "patient" else []
    share = [f"share{cell.fraction:g}"] if cell.fraction < 1 else []
    parts = [cell.dataset, cell.initialisation, cell.architecture, *own_head, level, *unit, *share, f"s{cell.seed}"]
    return re.sub(r"[^\w.-]+", "_", "-".join([*parts, content_key(cell_values(cell))[:6]]))


def cell_values(cell: Cell) -> dict[str, Any]:
    """The fields of ``cell`` as JSON values, where there is no infinity."""
    epsilon = "inf" if cell.kind == "non_private" else cell.target_epsilon
    return {**asdict(cell), "target_epsilon": epsilon}


def cells_table(study: Study) -> pd.DataFrame:
    """One row a cell: its name, kind, grids joined by ", ", and fields; those of mechanism and recipe each in a column.

    ``target_epsilon`` is infinity without privacy and NaN for the public-only model.
    """
    rows = []
    for cell, grids in cells_of(study).items():
        values = asdict(cell)
        mechanism, recipe = values.pop("mechanism"), values.pop("recipe")
        values["target_epsilon"] = math.nan if cell.target_epsilon is None else cell.target_epsilon
        named = {"cell": cell_name(cell), "grids": ", ".join(grids), "kind": cell.kind}
        rows.append(
            {
                **named,
                **values,
                **{f"mechanism.{name}": value for name, value in mechanism.items()},
                **{f"recipe.{name}": value for name, value in recipe.items()},
            }
        )
    return pd.DataFrame(rows)


def _cells_of_grid(grid: Grid, study: Study) -> Iterator[Cell]:
    """The cells of one grid in order: by data set and architecture, initialisations, their own heads, public only."""
    private = tuple(epsilon for epsilon in grid.epsilons if math.isfinite(epsilon))
    for dataset, architecture in itertools.product(grid.data, grid.architectures):
        runs: list[tuple[str, Head, float | None]] = [
            *((name, "reset", epsilon) for name in grid.initialisations for epsilon in grid.epsilons),
            *((name, "kept", epsilon) for name in grid.own_heads for epsilon in (*private, None)),
        ]
        for run, unit, fraction, seed in itertools.product(runs, grid.units, grid.fractions, grid.seeds):
            initialisation, head, epsilon = run
            cell = Cell(
                dataset=dataset,
                initialisation=initialisation,
                architecture=architecture,
                head=head,
                target_epsilon=epsilon,
                unit=unit,
                fraction=fraction,
                seed=seed,
                image_recipe=grid.image_recipe,
                normalisation=grid.normalisation,
                mechanism=grid.mechanism,
                recipe=grid.recipe,
            )
            yield _canonical(cell, study)


def _canonical(cell: Cell, study: Study) -> Cell:
    """``cell`` with the main grid's value of all that its run does not depend on, so that equal runs are equal."""
    main = study.main
    changes: dict[str, Any] = {"image_recipe": study.recipe_of(cell.dataset, cell.image_recipe)}
    if cell.kind != "private":
        kept = {name: getattr(main.recipe, name) for name in _PRIVATE_ONLY}
        changes |= {"unit": "image", "mechanism": main.mechanism, "recipe": replace(cell.recipe, **kept)}
    if cell.kind == "public_only":
        changes |= {"fraction": 1.0, "seed": 0, "recipe": main.recipe}
    return replace(cell, **changes)


def _pretrainings_of(cell: Cell, study: Study) -> list[Cell]:
    """The cells that ``cell`` starts from, directly or not, the first to be trained first."""
    before = pretraining_of(cell, study)
    return [] if before is None else [*_pretrainings_of(before, study), before]
