"""The initialisations that a study compares: random, and three stand-ins pretrained side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from dpcxr_core.config import FINDINGS, UserError, content_key
from dpcxr_core.data.images import resize_batch
from dpcxr_core.data.natural_images import load_caltech101
from dpcxr_core.data.simulation.textures import generate_scenes
from dpcxr_core.data.store import file_sha256, labels_of, open_store, rows_of
from dpcxr_core.evaluation.statistics.auroc import auroc
from dpcxr_core.provenance import imported_source_key
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.training.embeddings import embeddings_of
from dpcxr_core.training.initialisation import build_initialisation, find_standin, label_of
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


@dataclass(frozen=True, kw_only=True)
class StartingPoints:
    """How the stand-ins of a study are pretrained.

    Attributes:
        natural_images: File of natural images for the two non-domain stand-ins; empty for generated scenes.
        n_scenes: Generated scenes, when there are no natural images.
        nondomain_steps: Updates of the non-domain supervised stand-in.
        selfsupervised_steps: Updates of the non-domain self-supervised stand-in.
        domain_steps: Updates of the domain stand-in.
        further: Names of further initialisations to compare, such as weights of timm or in a file.
        seed: Seeds scenes, first weights and batches.
    """

    natural_images: str = ""
    n_scenes: int = 5000
    nondomain_steps: int = 500
    selfsupervised_steps: int = 250
    domain_steps: int = 340
    further: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.natural_images and not Path(self.natural_images).is_file():
            raise UserError(f"there is no file of natural images {self.natural_images!r}; leave it empty for scenes")
        for name in ("n_scenes", "nondomain_steps", "selfsupervised_steps", "domain_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1; got {getattr(self, name)}")


def make_initialisations(choice: StartingPoints, places: StudyPlaces, *, jobs: int) -> list[str]:
    """Full names of the initialisations to compare: random first, further ones, the domain stand-in last.

    What was pretrained before, from the same recipe and images, is not pretrained again.
    """
    public = open_store(places.store(places.public_dataset))
    load, nondomain_key = _nondomain_images(choice, public.description["size"])
    supervised_recipe = CLASSES_RECIPE if choice.natural_images else ATTRIBUTES_RECIPE
    domain_key = content_key(public.description["images_sha256"], public.description["cohort_sha256"])
    # longest first, so that the processes end together
    tasks: list[tuple[str, PretrainingRecipe, int, str, Callable[[], PretrainingData]]] = [
        ("standin_supervised", supervised_recipe, choice.nondomain_steps, nondomain_key, load),
        ("standin_selfsupervised", VICREG_RECIPE, choice.selfsupervised_steps, nondomain_key, load),
        ("standin_domain", DOMAIN_RECIPE, choice.domain_steps, domain_key, partial(_public, public.path)),
    ]
    with worker_pool(jobs) as pool:
        futures = [
            pool.submit(
                ensure_standin,
                tag,
                _with_steps(recipe, n_steps, choice.seed),
                data_key=data_key,
                load_data=load_data,
                weights_dir=places.weights,
                progress=False,
            )
            for tag, recipe, n_steps, data_key, load_data in tasks
        ]
        paths = [future.result() for future in tqdm(futures, desc="stand-ins", mininterval=5)]
    names = [f"convnext_mini.{task[0]}@{path.stem}" for task, path in zip(tasks, paths, strict=True)]
    image_size = open_store(places.store(places.public_dataset)).description["size"]
    for name in choice.further:  # a name that is wrong, or weights that cannot be had, show here and not in a run
        build_initialisation(name, weights_dir=places.weights, seed=choice.seed, head="reset", image_size=image_size)
    return ["convnext_mini.random", *choice.further, *names]


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

    The regression is fitted to the private training images **without privacy**: an analysis, not a release.
    """
    store = open_store(places.store(places.private_dataset))
    train, test = rows_of(store, "train"), rows_of(store, "test")
    y_train, y_test = labels_of(store, train), labels_of(store, test)
    rows = {}
    for name in names:
        size = store.description["size"]
        start = build_initialisation(name, weights_dir=places.weights, seed=0, head="reset", image_size=size)
        x_train, x_test = (
            embeddings_of(start.model, store.images, start.input_transform, rows=part) for part in (train, test)
        )
        aurocs = {
            finding: _probe_auroc(x_train, y_train[:, column], x_test, y_test[:, column])
            for column, finding in enumerate(FINDINGS)
        }
        rows[label_of(name)] = {"macro AUROC": float(np.nanmean(list(aurocs.values()))), **aurocs}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("initialisation")


def _probe_auroc(x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
    known = ~np.isnan(y_train)
    if len(np.unique(y_train[known])) < 2:
        return float("nan")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(x_train[known], y_train[known])
    return auroc(y_test, probe.predict_proba(x_test)[:, 1])


def _standins(names: Sequence[str]) -> list[str]:
    return [name for name in names if ".standin_" in name]


def _provenance(name: str, places: StudyPlaces) -> dict[str, Any]:
    return read_weights_record(find_standin(name, places.weights)).provenance


def _nondomain_images(choice: StartingPoints, size: int) -> tuple[Callable[[], PretrainingData], str]:
    """What loads the non-domain images, and the key of their content."""
    if choice.natural_images:
        key = content_key(file_sha256(Path(choice.natural_images)), size)
        return partial(_natural, choice.natural_images, size), key
    scene_code = imported_source_key("dpcxr_core.data.simulation.textures")
    key = content_key("scenes", scene_code, choice.n_scenes, size, choice.seed)
    return partial(_scenes, choice.n_scenes, size, choice.seed), key


def _with_steps(recipe: PretrainingRecipe, n_steps: int, seed: int) -> PretrainingRecipe:
    return replace(recipe, batches=replace(recipe.batches, n_steps=n_steps), seed=seed)


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
