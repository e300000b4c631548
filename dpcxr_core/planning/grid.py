"""A grid of runs as a study file declares it: its axes, its mechanism, and what is said of an initialisation."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

from dpcxr_core.config import UserError
from dpcxr_core.study.grid import Recipe
from dpcxr_core.study.standin_choice import STANDIN_TAGS

FILE = "file:"  # before the path in the tag of weights in a file


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """The private mechanism of a cell, but for what depends on its training set and target epsilon.

    Attributes:
        delta: Chance allowed for the guarantee to fail.
        expected_batch_size: Divisor of the noisy sum, in privacy units.
        max_grad_norm: Clip norm, in gradient units.
        n_steps: Optimiser updates; or None, with ``expected_passes``.
        expected_passes: Mean times a unit is used; or None, with ``n_steps``.
        clipping: "flat" or "automatic".
        max_images_per_patient: Most images of one patient in one step, where the unit is the patient.
    """

    delta: float
    expected_batch_size: int
    max_grad_norm: float
    n_steps: int | None = None
    expected_passes: float | None = None
    clipping: Literal["flat", "automatic"] = "flat"
    max_images_per_patient: int = 4

    def __post_init__(self) -> None:
        if (self.n_steps is None) == (self.expected_passes is None):
            raise UserError("a mechanism has either n_steps or expected_passes; state one of them")
        if not 0 < self.delta < 1:
            raise UserError(f"delta is a probability in (0, 1); got {self.delta}")
        for name in ("expected_batch_size", "max_grad_norm", "n_steps", "expected_passes", "max_images_per_patient"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"{name} must be positive and finite; got {value}")

    def steps(self, n_units: int) -> int:
        """Optimiser updates on a training set of ``n_units`` privacy units."""
        if self.n_steps is not None:
            return self.n_steps
        assert self.expected_passes is not None
        return max(1, round(self.expected_passes * n_units / self.expected_batch_size))


@dataclass(frozen=True, kw_only=True)
class InitialisationChoice:
    """Where runs start: weights by name, or those of a cell of this study that trains without privacy.

    Attributes:
        weights: Tag behind the architecture's name: "random", "standin_domain", "fb_in1k", or "file:PATH", where
            ``{architecture}`` stands for the architecture's name. None where ``trained_on`` is stated.
        trained_on: Name of the set of ``pretraining_data`` that is trained on, or None.
        start: Name of the initialisation that this training starts from (``from`` in the file), or None.
    """

    weights: str | None = None
    trained_on: str | None = None
    start: str | None = None

    def __post_init__(self) -> None:
        if (self.weights is None) == (self.trained_on is None):
            raise UserError("an initialisation has either weights or trained_on; state one of them")
        if (self.trained_on is None) != (self.start is None):
            raise UserError("trained_on and from belong together: what is trained on, and the initialisation before")
        if self.weights is not None and self.weights.startswith("standin_") and not self.is_standin:
            near = ", ".join(difflib.get_close_matches(self.weights, STANDIN_TAGS) or STANDIN_TAGS)
            raise UserError(f"no stand-in has the tag {self.weights!r}; did you mean {near}?")

    @property
    def is_standin(self) -> bool:
        """Whether its weights are pretrained by a job of the study."""
        return self.weights in STANDIN_TAGS

    def weights_name(self, architecture: str) -> str:
        """``architecture.tag``, the full name of ``weights``, which are stated, for a network."""
        assert self.weights is not None
        return f"{architecture}.{self.weights.replace('{architecture}', architecture)}"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The axes of a grid of cells and the settings that all its cells share; all that an ablation may change.

    Attributes:
        data: Names of the data sets trained on with privacy.
        initialisations: Their short names.
        own_heads: Those that also run with their own head kept, and as public-only model.
        architectures: Names of networks.
        epsilons: Targets; infinity is training without privacy.
        units: Privacy units.
        fractions: Shares of the training patients.
        seeds: Each cell is repeated once a seed.
        image_recipe: Of real images.
        normalisation: "of_weights", or "none" for pixels over 255.
        mechanism: Of the private cells.
        recipe: How every cell trains.
    """

    data: tuple[str, ...]
    initialisations: tuple[str, ...]
    own_heads: tuple[str, ...] = ()
    architectures: tuple[str, ...]
    epsilons: tuple[float, ...]
    units: tuple[Literal["image", "patient"], ...] = ("image",)
    fractions: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    image_recipe: Literal["corrected", "as_published"] = "corrected"
    normalisation: Literal["of_weights", "none"] = "of_weights"
    mechanism: Mechanism
    recipe: Recipe = Recipe()

    def __post_init__(self) -> None:
        for name in _AXES:
            values = getattr(self, name)
            if not values or max(Counter(values).values()) > 1:
                raise UserError(f"{name} must list at least one value, each once; got {list(values)}")
        for epsilon in self.epsilons:
            if not epsilon > 0:
                raise UserError(f"epsilons must be positive, .inf for no privacy; got {epsilon}")
        for fraction in self.fractions:
            if not 0 < fraction <= 1:
                raise UserError(f"fractions are shares of the training patients in (0, 1]; got {fraction}")
        if min(self.seeds) < 0:
            raise UserError(f"seeds must not be negative; got {min(self.seeds)}")
        check_known("own_heads", self.own_heads, self.initialisations)


_AXES = ("data", "initialisations", "architectures", "epsilons", "units", "fractions", "seeds")
GRID_KEYS = tuple(field.name for field in fields(Grid))


def check_known(where: str, named: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name at ``where`` that is not among the ``known`` ones."""
    known = list(known)
    for name in named:
        if name not in known:
            raise UserError(f"{where} names {name!r}; known are {', '.join(known)}")
