"""A study as its YAML file declares it: a grid of runs, and ablations of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from dpcxr_core.config import EvaluationChoice, UserError
from dpcxr_core.data.manifests import with_known_keys
from dpcxr_core.data.sources.own_manifest import own_facts
from dpcxr_core.planning.grid import GRID_KEYS, Grid, InitialisationChoice, check_known
from dpcxr_core.planning.stated import converted, made
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.study.data_choice import OWN, SIMULATED, DataChoice
from dpcxr_core.study.standin_choice import DOMAIN_TAG, STANDIN_TAGS, StartingPoints

MAIN = "main"
RANDOM = "random"
ROLES = ("supervised", "self_supervised", "domain")
_WITHOUT_HEAD = (RANDOM, *(tag for tag in STANDIN_TAGS if tag != DOMAIN_TAG))


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study file says.

    Attributes:
        name: The file's name without its ending.
        path: The file.
        question: What the study asks.
        data: The data sets trained on with privacy, by name; ``image_recipe`` of a cell replaces that of the choice.
        pretraining_data: The data sets that initialisations are trained on without privacy, by name.
        initialisations: By short name.
        roles: Which initialisations play "supervised", "self_supervised" and "domain" in the paper's claims.
        standins: How stand-ins are pretrained; ``architecture`` and ``tags`` are for the jobs to say.
        evaluation: How every run is evaluated.
        ranks: Processes that train one run together, by architecture; 1 where nothing is said.
        grids: By name, "main" first, then the ablations.
    """

    name: str
    path: Path
    question: str
    data: Mapping[str, DataChoice]
    pretraining_data: Mapping[str, DataChoice]
    initialisations: Mapping[str, InitialisationChoice]
    roles: Mapping[str, str]
    standins: StartingPoints
    evaluation: EvaluationChoice
    ranks: Mapping[str, int]
    grids: Mapping[str, Grid]

    @property
    def main(self) -> Grid:
        """The grid that the ablations change."""
        return self.grids[MAIN]

    @property
    def needs_protection(self) -> bool:
        """Whether any grid says that images do: then no job shows what no certificate covers.

        A cell without privacy does not tell, as it has the main grid's value of what it does not depend on.
        """
        return any(grid.recipe.needs_protection for grid in self.grids.values())

    def data_choice(self, dataset: str, image_recipe: str) -> DataChoice:
        """The images of ``dataset``, to train on or to pretrain on, made with ``image_recipe``."""
        return replace(self._stated(dataset), image_recipe=self.recipe_of(dataset, image_recipe))

    def recipe_of(self, dataset: str, image_recipe: str) -> str:
        """The recipe that images of ``dataset`` are made with where ``image_recipe`` is asked for.

        Simulated ones are drawn in one way.
        """
        return "corrected" if self._stated(dataset).data_source == SIMULATED else image_recipe

    def _stated(self, dataset: str) -> DataChoice:
        return self.data[dataset] if dataset in self.data else self.pretraining_data[dataset]

    def __post_init__(self) -> None:
        names = [*self.data, *self.pretraining_data, *self.initialisations, *self.grids, *self.main.architectures]
        for name in names:
            if not re.fullmatch(r"[\w.-]+", name):
                raise UserError(f"names are of letters, digits, '_', '.' and '-', as files are called so; got {name!r}")
        _check_data({**self.pretraining_data, **self.data}, len(self.pretraining_data) + len(self.data))
        for name, choice in self.initialisations.items():
            self._check_initialisation(name, choice)
        check_known("roles", self.roles, ROLES)
        check_known("roles", self.roles.values(), self.initialisations)
        check_known(
            "ranks", self.ranks, dict.fromkeys(each for grid in self.grids.values() for each in grid.architectures)
        )
        for name, grid in self.grids.items():
            where = "" if name == MAIN else f"ablations.{name}."
            check_known(f"{where}data", grid.data, self.data)
            check_known(f"{where}initialisations", grid.initialisations, self.initialisations)
            for dataset in grid.data:
                self._check_public_part(dataset, grid.initialisations)
            for init in grid.own_heads:
                if self.initialisations[init].weights in _WITHOUT_HEAD:
                    raise UserError(f"{where}own_heads: {init} has no head for the five findings to keep")

    def _check_initialisation(self, name: str, choice: InitialisationChoice) -> None:
        if choice.trained_on is not None:
            check_known(f"initialisations.{name}.trained_on", [choice.trained_on], self.pretraining_data)
        before = [name]
        while (start := self.initialisations[before[-1]].start) is not None:
            check_known(f"initialisations.{before[-1]}.from", [start], self.initialisations)
            if start in before:
                raise UserError(f"initialisations.{name} is trained from itself: {' from '.join([*before, start])}")
            before.append(start)

    def _check_public_part(self, dataset: str, initialisations: Iterable[str]) -> None:
        choice = self.data[dataset]
        if choice.data_source == SIMULATED or choice.public_fraction > 0:
            return
        for name in initialisations:
            if self.initialisations[name].weights == DOMAIN_TAG:
                raise UserError(
                    f"{name} is pretrained on the public part of {dataset}, which has none; "
                    f"leave {name} out, or set data.{dataset}.public_fraction above 0"
                )


def _check_data(choices: Mapping[str, DataChoice], n_named: int) -> None:
    if len(choices) < n_named:
        raise UserError("a data set is either trained on with privacy or pretrained on; a name is in data and below")
    sizes = {name: choice.image_size for name, choice in choices.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"every data set of a study has one image_size, as all are tested on; got {sizes}")
    first: dict[str, str] = {}
    for name, choice in choices.items():
        other = first.setdefault(_name_in_tables(choice) or name, name)
        if other != name:
            raise UserError(
                f"{other} and {name} both train on images that tables call {_name_in_tables(choice)!r}, where their "
                "results would be mixed: change private_hospital, or the name in one hospital's manifest, or state "
                "them in two study files"
            )


def _name_in_tables(choice: DataChoice) -> str:
    """How records and tables call the images trained on; "" where that stands in a manifest that cannot be read."""
    if choice.data_source == SIMULATED:
        return choice.private_hospital
    dataset = choice.data_source
    if dataset == OWN:
        try:
            dataset = own_facts(PROJECT_FOLDER / choice.manifest)["dataset"]
        except UserError:  # what is wrong with it the job will say
            return ""
    return choice.name_trained_on(dataset)


def read_study(path: Path) -> Study:
    """The study that the YAML file ``path`` declares.

    Raises:
        UserError: There is no such file, it is not YAML, a key is unknown, or a value makes no sense.
    """
    if not path.is_file():
        raise UserError(f"there is no study file {path}; those of the project are in its folder studies")
    try:
        stated = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    try:
        return _study_of(path, stated)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _study_of(path: Path, stated: object) -> Study:
    known = dict.fromkeys([*(field.name for field in fields(Study)), *GRID_KEYS, "ablations"])
    said = with_known_keys("", stated, [key for key in known if key not in ("name", "path", "grids")])
    said = {key: value for key, value in said.items() if value is not None}  # of a key with nothing behind it
    data, pretraining_data = (
        {name: made(DataChoice, each, f"{key}.{name}", without=["image_recipe"]) for name, each in items}
        for key in ("data", "pretraining_data")
        for items in [_mapping(key, said).items()]
    )
    initialisations = {
        name: _initialisation(each, f"initialisations.{name}")
        for name, each in _mapping("initialisations", said).items()
    }
    ranks = {name: converted(n, int, f"ranks.{name}") for name, n in _mapping("ranks", said).items()}
    if min(ranks.values(), default=1) < 1:
        raise UserError(f"ranks must be at least 1; got {ranks}")
    return Study(
        name=path.stem,
        path=path,
        question=converted(said.get("question", ""), str, "question"),
        data=data,
        pretraining_data=pretraining_data,
        initialisations=initialisations,
        roles={name: converted(init, str, f"roles.{name}") for name, init in _mapping("roles", said).items()},
        standins=made(
            StartingPoints, said.get("standins", {}), "standins", without=["architecture", "tags", "further"]
        ),
        evaluation=made(EvaluationChoice, said.get("evaluation", {}), "evaluation"),
        ranks=ranks,
        grids=_grids(said, list(data), list(initialisations)),
    )


def _mapping(key: str, said: Mapping[str, Any]) -> dict[str, Any]:
    found = said.get(key, {})
    if not isinstance(found, Mapping):
        raise UserError(f"{key} must hold 'name: value' lines; got {found!r}")
    return {str(name): value for name, value in found.items()}


def _initialisation(stated: object, where: str) -> InitialisationChoice:
    said = with_known_keys(where, stated, ["weights", "trained_on", "from"])
    return made(InitialisationChoice, {"start" if key == "from" else key: each for key, each in said.items()}, where)


def _grids(said: Mapping[str, Any], data: list[str], initialisations: list[str]) -> dict[str, Grid]:
    main = {key: said[key] for key in GRID_KEYS if key in said} | {"data": data, "initialisations": initialisations}
    grids = {MAIN: made(Grid, main, "")}
    for name, stated in _mapping("ablations", said).items():
        where = f"ablations.{name}"
        if name == MAIN:
            raise UserError(f"an ablation cannot be called {MAIN!r}, as the grid above is")
        changes = with_known_keys(where, stated, GRID_KEYS)
        for key in ("mechanism", "recipe"):
            changes[key] = _merged(main.get(key, {}), _mapping(key, changes))
        grids[name] = made(Grid, {**main, "own_heads": [], **changes}, where)
    return grids


def _merged(main: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``main`` with ``changes``; the number of passes takes the place of that of steps, and the other way round."""
    lengths = {"n_steps", "expected_passes"}
    replaced = lengths if lengths & set(changes) else set()
    return {**{key: value for key, value in main.items() if key not in replaced}, **changes}
