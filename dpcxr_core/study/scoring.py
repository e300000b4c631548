"""Scoring images by the model of a run that is trained and recorded."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.store import ImageStore, labels_of, open_store, rows_of
from dpcxr_core.files import whole_folder
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.scores import Split, missing_scores
from dpcxr_core.study.trained_model import model_of
from dpcxr_core.tables import SCORES, checked
from dpcxr_core.training.device import find_compute, prepare_model
from dpcxr_core.training.initialisation import Initialisation
from dpcxr_core.training.loop import predict
from dpcxr_core.training.record import read_record


def score_images(folder: Path, places: StudyPlaces) -> None:
    """Leave the scores of the run in ``folder`` on every data set of ``datasets_scored``; those that are there stay.

    Raises:
        UserError: A store is missing; or as ``model_of``.
    """
    missing = missing_scores(folder, places)
    if not missing:
        return
    record = read_record(folder)
    trained = model_of(folder, places)
    prepare_model(trained.model, find_compute(record.config.precision))
    for dataset, final in missing.items():
        store = open_store(places.store(dataset))
        with whole_folder(final, "test.parquet") as made:
            for split in get_args(Split):
                _scores(trained, store, split, record.run_id).to_parquet(made / f"{split}.parquet")


def _scores(trained: Initialisation, store: ImageStore, split: str, run_id: str) -> pd.DataFrame:
    rows = rows_of(store, split)
    y_score = predict(trained.model, store.images, trained.input_transform, rows=rows)
    cohort = store.cohort.iloc[rows]
    table = pd.DataFrame(
        {
            "run_id": run_id,
            "dataset": np.repeat(cohort["dataset"].to_numpy(), len(FINDINGS)),
            "image_id": np.repeat(cohort["image_id"].to_numpy(), len(FINDINGS)),
            "patient_id": np.repeat(cohort["patient_id"].to_numpy(), len(FINDINGS)),
            "finding": np.tile(np.asarray(FINDINGS, object), len(cohort)),
            "y_true": labels_of(store, rows).ravel().astype(float),
            "y_score": y_score.ravel().astype(float),
        }
    )
    return checked(table, SCORES)
