"""The initialisations that a study compares: random, and stand-ins pretrained side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from dpcxr_core.config import FINDINGS, UserError, content_key
from dpcxr_core.data.images import resize_batch
from dpcxr_core.data.natural_images import load_caltech101
from dpcxr_core.data.simulation.textures import generate_scenes
from dpcxr_core.data.store import file_sha256, labels_of, open_store, rows_of
from dpcxr_core.evaluation.representation.linear_probe import probe_scores, standardised
from dpcxr_core.evaluation.statistics.auroc import auroc
from dpcxr_core.provenance import imported_source_key
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.standin_choice import DOMAIN_TAG, StartingPoints
from dpcxr_core.study.starts import start_of
from dpcxr_core.training.embeddings import embeddings_of
from dpcxr_core.training.initialisation import find_standin, label_of
from dpcxr_core.training.pretraining import PretrainingData, PretrainingRecipe
from dpcxr_core.training.standins import (
    ATTRIBUTES_RECIPE,
    CLASSES_RECIPE,
    DOMAIN_RECIPE,
    VICREG_RECIPE,
    ensure_standin,
)
from dpcxr_core.training.weight_files import read_weights_record
from dpcxr_core.workers import worker_pool

_Pretraining = tuple[str, PretrainingRecipe, str, Callable[[], PretrainingData]]  # tag, recipe, key of images, images


def make_initialisations(choice: StartingPoints, places: StudyPlaces, *, jobs: int) -> list[str]:
    """Full names of the initialisations to compare: random first, further ones, the domain stand-in last.

    What was pretrained before, from the same recipe and images, is not pretrained again.

    Raises:
        UserError: The file of natural images is missing, a further name is wrong, or the domain stand-in is asked for
            where there is no public part to pretrain it on.
    """
    tasks = _pretrainings(choice, places)
    with worker_pool(jobs) as pool:
        futures = [
            pool.submit(
                ensure_standin,
                tag,
                replace(recipe, architecture=choice.architecture, seed=choice.seed),
                data_key=data_key,
                load_data=load_data,
                weights_dir=places.weights,
                progress=False,
            )
            for tag, recipe, data_key, load_data in tasks
        ]
        paths = [future.result() for future in tqdm(futures, desc="stand-ins", mininterval=5)]
    names = [f"{choice.architecture}.{task[0]}@{path.stem}" for task, path in zip(tasks, paths, strict=True)]
    for name in choice.further:  # a name that is wrong, or weights that cannot be had, show here and not in a run
        start_of(name, places.public_dataset, places, seed=choice.seed, head="reset")
    return [f"{choice.architecture}.random", *choice.further, *names]


def _pretrainings(choice: StartingPoints, places: StudyPlaces) -> list[_Pretraining]:
    """What is to be pretrained, the longest first, so that processes end together; the domain stand-in last."""
    public = open_store(places.store(places.public_dataset))
    found: list[_Pretraining] = []
    if set(choice.tags) - {DOMAIN_TAG}:
        load, key = _nondomain_images(choice, public.description["size"])
        supervised = CLASSES_RECIPE if choice.natural_images else ATTRIBUTES_RECIPE
        found = [
            ("standin_supervised", _with_steps(supervised, choice.nondomain_steps), key, load),
            ("standin_selfsupervised", _with_steps(VICREG_RECIPE, choice.selfsupervised_steps), key, load),
        ]
    if DOMAIN_TAG in choice.tags:
        if places.public_dataset == places.private_dataset:
            raise UserError(
                f"{DOMAIN_TAG} is pretrained on public images, and {places.private_dataset} has none; "
                "leave it out of tags, or set public_fraction above 0"
            )
        key = content_key(public.description["images_sha256"], public.description["cohort_sha256"])
        found.append((DOMAIN_TAG, _with_steps(DOMAIN_RECIPE, choice.domain_steps), key, partial(_public, public.path)))
    return [each for each in found if each[0] in choice.tags]


def pretraining_images(choice: StartingPoints, places: StudyPlaces, *, n: int) -> np.ndarray:
    """``(n, size, size)`` uint8: images at random of those that the non-domain stand-ins are pretrained on."""
    size = open_store(places.store(places.public_dataset)).description["size"]
    load, _ = _nondomain_images(replace(choice, n_scenes=max(n, 64)), size)
    images = load().images
    return images[np.random.default_rng(choice.seed).choice(len(images), n, replace=False)]


def pretraining_table(names: Sequence[str], places: StudyPlaces) -> pd.DataFrame:
    """One row a stand-in: images, steps, images of one step, seconds, first and last loss."""
    rows = {}
    for name in _standins(names):
        provenance = _provenance(name, places)
        batches, losses = provenance["recipe"]["batches"], provenance["losses"]
        rows[label_of(name)] = {
            "images": provenance["n_images"],
            "steps": batches["n_steps"],
            "images a step": batches["batch_size"],
            "seconds": provenance["seconds"],
            "loss at first": float(np.mean(losses[:10])),
            "loss at last": float(np.mean(losses[-10:])),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("initialisation")


def pretraining_losses(names: Sequence[str], places: StudyPlaces) -> dict[str, pd.DataFrame]:
    """Columns ``step`` and ``loss`` of each stand-in's pretraining, by label."""
    found = {label_of(name): _provenance(name, places)["losses"] for name in _standins(names)}
    return {label: pd.DataFrame({"step": range(len(loss)), "loss": loss}) for label, loss in found.items()}


def probe_table(names: Sequence[str], places: StudyPlaces) -> pd.DataFrame:
    """AUROC on the internal test set of logistic regression on frozen features: one row an initialisation.

    The regression, that of ``linear_probe.probe_scores`` on standardised features, is fitted to the private training
    images **without privacy**: an analysis, not a release.
    """
    store = open_store(places.store(places.private_dataset))
    train, test = rows_of(store, "train"), rows_of(store, "test")
    y_train, y_test = labels_of(store, train), labels_of(store, test)
    rows = {}
    for name in names:
        start = start_of(name, places.private_dataset, places, seed=0, head="reset")
        x_train, x_test = standardised(
            *(embeddings_of(start.model, store.images, start.input_transform, rows=part) for part in (train, test))
        )
        probed = zip(FINDINGS, y_test.T, probe_scores(x_train, y_train, x_test).T, strict=True)
        aurocs = {finding: math.nan if np.isnan(s).any() else auroc(y, s) for finding, y, s in probed}
        rows[label_of(name)] = {"macro AUROC": float(np.nanmean(list(aurocs.values()))), **aurocs}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("initialisation")


def _standins(names: Sequence[str]) -> list[str]:
    return [name for name in names if ".standin_" in name]


def _provenance(name: str, places: StudyPlaces) -> dict[str, Any]:
    return read_weights_record(find_standin(name, places.weights)).provenance


def _nondomain_images(choice: StartingPoints, size: int) -> tuple[Callable[[], PretrainingData], str]:
    """What loads the non-domain images, and the key of their content."""
    if choice.natural_images:
        if not Path(choice.natural_images).is_file():
            raise UserError(f"there is no file of natural images {choice.natural_images!r}; leave it empty for scenes")
        key = content_key(file_sha256(Path(choice.natural_images)), size)
        return partial(_natural, choice.natural_images, size), key
    scene_code = imported_source_key("dpcxr_core.data.simulation.textures")
    key = content_key("scenes", scene_code, choice.n_scenes, size, choice.seed)
    return partial(_scenes, choice.n_scenes, size, choice.seed), key


def _with_steps(recipe: PretrainingRecipe, n_steps: int) -> PretrainingRecipe:
    return replace(recipe, batches=replace(recipe.batches, n_steps=n_steps))


def _scenes(n_scenes: int, size: int, seed: int) -> PretrainingData:
    scenes = generate_scenes(n_scenes, size, seed)
    return PretrainingData(scenes.images, scenes.attributes, tuple(scenes.names))


def _natural(path: str, size: int) -> PretrainingData:
    found = load_caltech101(Path(path))
    return PretrainingData(resize_batch(found.images, size), found.labels, tuple(found.classes))


def _public(path: Path) -> PretrainingData:
    store = open_store(path)
    rows = rows_of(store, "train")
    return PretrainingData(np.asarray(store.images[rows]), labels_of(store, rows), FINDINGS)
