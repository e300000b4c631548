"""Scores of runs: what a model says of every test and validation image of a data set.

They are kept apart from the record of the run, and those of one data set apart from those of another, each named by the
content of what it depends on (weights, images, code). Nothing here needs torch; ``scoring`` makes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from dpcxr_core.config import UserError, content_key
from dpcxr_core.data.store import content_of
from dpcxr_core.provenance import deciding_libraries, imported_source_key
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.training.record import read_record

Split = Literal["test", "valid"]


def datasets_scored(folder: Path, places: StudyPlaces) -> tuple[str, ...]:
    """The data set that the run in ``folder`` was trained on, for its thresholds, and all those it is tested on."""
    return tuple(dict.fromkeys((read_record(folder).config.dataset, *places.test_datasets)))


def scores_folder(folder: Path, dataset: str, places: StudyPlaces) -> Path:
    """Where the scores of images of ``dataset`` by the run in ``folder`` are, or are going to be.

    Raises:
        UserError: ``folder`` holds no finished run, or there is no such store.
    """
    record = read_record(folder)
    # the name of a run is not enough: with secret randomness, the same run done again has other weights
    weights, images = record.data["weights_sha256"], content_of(places.store(dataset))
    key = content_key(weights, images, imported_source_key("dpcxr_core.study.scoring"), deciding_libraries())
    return places.scores / f"{record.run_id}-on-{dataset}-{key}"


def missing_scores(folder: Path, places: StudyPlaces) -> dict[str, Path]:
    """By data set of ``datasets_scored``, the folder of scores that are not there yet.

    Raises:
        UserError: As ``scores_folder``.
    """
    left = {name: scores_folder(folder, name, places) for name in datasets_scored(folder, places)}
    return {name: each for name, each in left.items() if not each.exists()}


def scores_on(folder: Path, dataset: str, places: StudyPlaces, split: Split = "test") -> pd.DataFrame:
    """SCORES of the run in ``folder`` on the images of one split of ``dataset``.

    Raises:
        UserError: As ``scores_folder``, or the images were not scored.
    """
    file = scores_folder(folder, dataset, places) / f"{split}.parquet"
    if not file.is_file():
        raise UserError(f"{file} is missing; do the run {folder.name} again, which scores it and trains nothing")
    return pd.read_parquet(file)


def scores_of_tests(folder: Path, places: StudyPlaces) -> pd.DataFrame:
    """SCORES of the run in ``folder`` on the test images of every data set that it is tested on.

    Raises:
        UserError: As ``scores_on``.
    """
    return pd.concat([scores_on(folder, name, places) for name in places.test_datasets], ignore_index=True)
