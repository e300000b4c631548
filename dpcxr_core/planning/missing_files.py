"""Which files a study asks for that are not on this machine, and how to get them; nothing is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import try_to_load_from_cache

from dpcxr_core.data.manifests import facts_of
from dpcxr_core.planning.grid import FILE
from dpcxr_core.planning.jobs import WEIGHTS_OF_BOOK, listed_weights
from dpcxr_core.planning.study_file import Study
from dpcxr_core.provenance import PROJECT_FOLDER, from_project
from dpcxr_core.study.data_choice import OWN, SIMULATED, DataChoice

COLUMNS = ["needed_for", "what", "where", "steps"]
STANDINS = "stand-ins"
_WITHOUT_FILE = ("random", "standin_")
# data set -> what must be there: keys of ``files`` in its manifest, of whose names any one will do
_NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "chestxray14": (("entries",), ("train_valid_list",), ("test_list",), ("pictures",)),
    "chexpert": (("train",), ("pictures",)),
    "padchest": (("entries",),),
    "vindr_cxr": (("train_labels",), ("test_labels",), ("pictures",)),
    "mimic_cxr_jpg": (("metadata",), ("split",), ("labels",), ("pictures",)),
    "uka_cxr": (("entries",), ("pictures",)),
    "taix_ray": (("annotation", "parquet"),),
    "chestmnist": (("archives",),),
}


def missing_files(study: Study, weights_dir: Path = WEIGHTS_OF_BOOK) -> pd.DataFrame:
    """One row a thing that is not there: ``needed_for what where steps``; ``steps`` is a tuple of sentences.

    Things are the official files of each data set, images to pretrain stand-ins on, and weights. That a file is there
    does not say that it is whole: the job that reads it does. Relative paths are seen from the project.

    Args:
        study: Names the things.
        weights_dir: Holds the files of weights that are not on the hub, by the names in ``weights.yaml``.
    """
    choices = {**study.data, **study.pretraining_data}
    rows = [row for name, choice in choices.items() for row in _of_data(name, choice)]
    natural_images = study.standins.natural_images
    if natural_images and not (PROJECT_FOLDER / natural_images).is_file():
        steps = ("Put the file there, or leave natural_images empty: then scenes are generated.",)
        rows.append((STANDINS, "natural images", natural_images, steps))
    rows += [row for name in weights_named(study) for row in _of_weights(name, weights_dir)]
    return pd.DataFrame(rows, columns=COLUMNS)


def weights_named(study: Study) -> list[str]:
    """Names, ``architecture.tag``, of all weights that runs start from and that the study does not make itself."""
    named: dict[str, None] = {}
    for grid in study.grids.values():
        for initialisation in grid.initialisations:
            choice = study.initialisations[initialisation]
            while choice.start is not None:  # a study file leads nowhere in a circle
                choice = study.initialisations[choice.start]
            named |= dict.fromkeys(choice.weights_name(architecture) for architecture in grid.architectures)
    return [name for name in named if not name.partition(".")[2].startswith(_WITHOUT_FILE)]


def _of_data(name: str, choice: DataChoice) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    if choice.data_source == SIMULATED:
        return
    if choice.data_source == OWN:
        for what, path in (("manifest", choice.manifest), ("folder of the hospital's files", choice.source_dir)):
            if path and not (PROJECT_FOLDER / path).exists():
                yield name, what, path, ("See data_manifests/own_example.yaml and the chapter on your own hospital.",)
        return
    facts, source = facts_of(choice.data_source), PROJECT_FOLDER / choice.source_dir
    steps = tuple(" ".join(str(step).split()) for step in facts["access"])
    for keys in _NEEDED[choice.data_source]:
        names = [name for key in keys for name in _names_in(facts["files"][key])]
        if not _any_there(source, names, facts["files"].get("releases", ())):
            yield name, " or ".join(names), choice.source_dir, steps


def _names_in(stated: Any) -> list[str]:
    """All names of files in what a manifest states: a text, a list, or lists by key."""
    if isinstance(stated, str):
        return [stated]
    parts: Sequence[Any] = list(stated.values()) if isinstance(stated, Mapping) else stated
    return [name for part in parts for name in _names_in(part)]


def _any_there(source: Path, names: Sequence[str], releases: Sequence[str]) -> bool:
    """Whether the source, or a release in it, holds something of one of the names, in which * may stand."""
    folders = [folder for folder in (source, *(source / release for release in releases)) if folder.is_dir()]
    return any(next(folder.glob(name), None) is not None for folder in folders for name in names)


def _of_weights(name: str, weights_dir: Path) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    tag = name.partition(".")[2]
    if tag.startswith(FILE):
        path = tag.removeprefix(FILE)
        if not (PROJECT_FOLDER / path).is_file():
            yield name, "weights", path, ("Put the file there, with its record beside it.",)
        return
    listed = listed_weights().get(name, {})
    if "file" in listed:
        if not (weights_dir / listed["file"]).is_file():
            where = f"{from_project(weights_dir)}/{listed['file']}"
            yield name, "weights", where, (" ".join(listed["source"].split()),)
    elif not isinstance(try_to_load_from_cache(f"timm/{name}", "model.safetensors"), str):
        licence = listed.get("licence", "read the licence on the page of the weights")
        steps = (
            f"Downloaded when first used; on a machine without network before: hf download timm/{name}.",
            f"Licence: {licence}.",
        )
        yield name, "weights", "cache of the Hugging Face hub", steps
