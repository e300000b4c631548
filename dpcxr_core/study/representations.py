"""Representations of a study's models, before training and after it: embeddings, kept, and measures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import FINDINGS, RunConfig, UserError, content_key
from dpcxr_core.data.store import ImageStore, labels_of, open_store, rows_of
from dpcxr_core.evaluation.representation.geometry import unit_normalised
from dpcxr_core.evaluation.representation.jackknife import jackknife_groups
from dpcxr_core.evaluation.representation.measures import (
    ComparedImages,
    Embedded,
    measures_after,
    measures_before,
)
from dpcxr_core.evaluation.resampling.patients import resamples_of, resampling_rng
from dpcxr_core.files import whole_folder
from dpcxr_core.provenance import deciding_libraries, imported_source_key
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.run_table import runs_table
from dpcxr_core.study.scores import scores_on
from dpcxr_core.study.starts import start_of_run
from dpcxr_core.study.trained_model import model_of
from dpcxr_core.training.embeddings import embeddings_of
from dpcxr_core.training.initialisation import Initialisation, label_of
from dpcxr_core.training.record import read_record
from dpcxr_core.workers import worker_pool

BEFORE = "before_training"
_N_GROUPS = 30  # of the jackknife
_FEWEST_IMAGES = 20


@dataclass(frozen=True, kw_only=True)
class RepresentationChoice:
    """How many images the measures read.

    Attributes:
        n_train: Most training images that a linear probe is fitted to, drawn at random.
        n_test: Most test images that everything is measured on, drawn at random.
    """

    n_train: int = 1500
    n_test: int = 1000

    def __post_init__(self) -> None:
        for name, value in (("n_train", self.n_train), ("n_test", self.n_test)):
            if value < _FEWEST_IMAGES:
                raise UserError(f"{name} must be at least {_FEWEST_IMAGES}; got {value}")


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The images of one store that all models are compared on: rows of the store."""

    store: ImageStore
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def representation_table(
    folders: Sequence[Path], places: StudyPlaces, choice: RepresentationChoice, *, n_jobs: int
) -> pd.DataFrame:
    """Measures of the representations before training and after it: a row a model and measure.

    Looks at the first seed of each trained condition, on images of the data set trained on. Reads private labels
    **without privacy**: an analysis, of which no certificate covers anything. Embeddings are kept in
    ``places.evaluations``.

    Args:
        folders: Record folders.
        places: Of the study that the runs belong to.
        choice: How many images to read.
        n_jobs: Processes of one thread each.

    Returns:
        ``init_label kind target_epsilon measure n value low high reason``, with the measures of
        ``measures_after``. ``kind`` is "before_training" for an initialisation as it is. Intervals are of the test
        patients: another seed, or other images for the probe, may move a value by more.

    Raises:
        UserError: None of the runs was trained.
    """
    trained = _first_seed(folders)
    starts = {config.init_name: config for config in (read_record(folder).config for folder in trained)}
    models: list[dict] = [
        *({"init_label": label_of(name), "kind": BEFORE, "target_epsilon": np.nan} for name in starts),
        *runs_table(trained)[["init_label", "kind", "target_epsilon"]].to_dict("records"),
    ]
    with worker_pool(n_jobs) as pool:
        # all starts before the first run, which then finds what its own start made of the images
        before = list(pool.map(partial(_measure_start, places=places, choice=choice), starts.values()))
        after = list(pool.map(partial(_measure_run, places=places, choice=choice), trained))
    measured = zip(models, [*before, *after], strict=True)
    return pd.DataFrame([{**model, **row} for model, rows in measured for row in rows])


def _first_seed(folders: Sequence[Path]) -> list[Path]:
    seeds = {}
    for folder in folders:
        config = read_record(folder).config
        if config.optimisation is not None:
            seeds[folder] = config.seed
    if not seeds:
        raise UserError(f"none of the {len(folders)} runs was trained; pass the records of trained runs")
    return [folder for folder, seed in seeds.items() if seed == min(seeds.values())]


def _measure_start(config: RunConfig, places: StudyPlaces, choice: RepresentationChoice) -> list[dict[str, Any]]:
    chosen = _chosen_images(config.dataset, places, choice)
    start = start_of_run(replace(config, head="reset"), places)
    return measures_before(_embedded(start, "", chosen, places), _compared(chosen, places))


def _measure_run(folder: Path, places: StudyPlaces, choice: RepresentationChoice) -> list[dict[str, Any]]:
    record = read_record(folder)
    config = record.config
    chosen = _chosen_images(config.dataset, places, choice)
    before = _embedded(start_of_run(replace(config, head="reset"), places), "", chosen, places)
    # the name of a run is not enough: with secret randomness, the same run done again has other weights
    after = _embedded(model_of(folder, places), record.data["weights_sha256"], chosen, places)
    return measures_after(after, before, _scores(folder, chosen, places), _compared(chosen, places))


def _chosen_images(dataset: str, places: StudyPlaces, choice: RepresentationChoice) -> _Chosen:
    store = open_store(places.store(dataset))
    rng = resampling_rng(places.evaluation.seed, dataset)
    train, test = (
        np.sort(rng.permutation(rows_of(store, split))[:most])
        for split, most in (("train", choice.n_train), ("test", choice.n_test))
    )
    return _Chosen(store, train, test)


def _compared(chosen: _Chosen, places: StudyPlaces) -> ComparedImages:
    patient_ids = chosen.store.cohort["patient_id"].to_numpy()[chosen.test]
    rng = resampling_rng(places.evaluation.seed, chosen.store.description["dataset"])
    return ComparedImages(
        train_labels=labels_of(chosen.store, chosen.train),
        test_labels=labels_of(chosen.store, chosen.test),
        # no group of patients is looked at, so that none has to be kept in every resample
        resamples=resamples_of(patient_ids, np.zeros(len(patient_ids)), places.evaluation.n_resamples, rng),
        groups=jackknife_groups(patient_ids, _N_GROUPS, rng),
    )


def _embedded(start: Initialisation, trained_key: str, chosen: _Chosen, places: StudyPlaces) -> Embedded:
    """Embeddings by ``start.model``; ``trained_key`` names the weights that it holds now, and is "" before training."""
    description = dict(chosen.store.description)
    rows = [chosen.train.tolist(), chosen.test.tolist()]
    code = imported_source_key("dpcxr_core.training.embeddings", "dpcxr_core.training.initialisation")
    model = start.name, start.weights_key, start.input_transform, trained_key
    key = content_key(*model, description, rows, code, deciding_libraries())
    folder = places.evaluations / "embeddings" / key
    if not (folder / "test.npy").exists():
        with whole_folder(folder, "test.npy") as partial_folder:
            for split, chosen_rows in (("train", chosen.train), ("test", chosen.test)):
                found = embeddings_of(start.model, chosen.store.images, start.input_transform, rows=chosen_rows)
                np.save(partial_folder / f"{split}.npy", found)
    return Embedded(*(unit_normalised(np.load(folder / f"{split}.npy")) for split in ("train", "test")))


def _scores(folder: Path, chosen: _Chosen, places: StudyPlaces) -> NDArray[np.float64]:
    """``(n_test, F)`` scores of the chosen test images by the run in ``folder``."""
    scores = scores_on(folder, chosen.store.description["dataset"], places)
    wide = scores.pivot(index="image_id", columns="finding", values="y_score")
    image_ids = chosen.store.cohort["image_id"].to_numpy()[chosen.test]
    return wide.loc[image_ids, list(FINDINGS)].to_numpy()
