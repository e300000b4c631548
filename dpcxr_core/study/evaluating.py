"""What the scores of runs amount to: metrics, resamples and thresholds, each computed once and kept apart from runs.

An evaluation is named by the content of everything it depends on (scores, choice, code), so that another choice, or
other code, evaluates again and trains nothing. Nothing here needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from dpcxr_core.config import content_key
from dpcxr_core.data.store import open_store, rows_of
from dpcxr_core.evaluation.draws import Draws, read_draws, write_draws
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.thresholds import DecisionThresholds, choose_thresholds
from dpcxr_core.files import whole_folder, write_json
from dpcxr_core.provenance import imported_source_key, versions
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.scores import datasets_scored, scores_folder, scores_of_tests, scores_on
from dpcxr_core.training.record import read_record
from dpcxr_core.workers import worker_pool

_DECIDING_LIBRARIES = ("numpy", "pandas", "scipy", "scikit-learn")


def metrics_table(folders: Sequence[Path], places: StudyPlaces, n_jobs: int = 1) -> pd.DataFrame:
    """The METRICS table of several runs, one below the other; what is not evaluated yet is now.

    Args:
        folders: Of the run records.
        places: Of the study.
        n_jobs: Processes that evaluate; with 1 this one does.
    """
    missing = [folder for folder in folders if not evaluation_folder(folder, places).exists()]
    if n_jobs > 1 and len(missing) > 1:
        with worker_pool(n_jobs) as pool:
            done = pool.map(partial(evaluated, places=places), missing)
            list(tqdm(done, total=len(missing), desc="evaluations", mininterval=5))
    tables = [pd.read_parquet(evaluated(folder, places) / "metrics.parquet") for folder in folders]
    return pd.concat(tables, ignore_index=True)


def draws_of(folder: Path, places: StudyPlaces) -> dict[str, Draws]:
    """The metrics of the run in ``folder`` on the data and on each resample of patients, by data set tested on."""
    draws = [read_draws(path) for path in sorted(evaluated(folder, places).glob("draws-*.npz"))]
    return {each.dataset: each for each in draws}


def draws_by_run(folders: Sequence[Path], places: StudyPlaces) -> dict[str, dict[str, Draws]]:
    """``draws_of`` every run, by ``run_id``, as which its folder is named."""
    return {folder.name: draws_of(folder, places) for folder in folders}


def thresholds_of(folder: Path, places: StudyPlaces) -> DecisionThresholds | None:
    """The decision thresholds of the run in ``folder``; None where the set trained on has no validation images."""
    path = evaluated(folder, places) / "thresholds.json"
    return DecisionThresholds(**json.loads(path.read_text())) if path.exists() else None


def thresholds_chosen_on(folder: Path, dataset: str, places: StudyPlaces) -> DecisionThresholds | None:
    """Decision thresholds chosen on validation images of ``dataset`` as the run in ``folder`` scored them, or None."""
    valid = scores_on(folder, dataset, places, "valid")
    return choose_thresholds(valid, places.evaluation) if len(valid) else None


def values_of(thresholds: DecisionThresholds | None) -> dict[str, float]:
    """Decision thresholds by finding; none without validation images to choose them on."""
    return {} if thresholds is None else thresholds.values


def evaluation_folder(folder: Path, places: StudyPlaces) -> Path:
    """Where the evaluation of the run in ``folder`` is, or is going to be.

    Raises:
        UserError: ``folder`` holds no finished run.
    """
    run_id = read_record(folder).run_id
    scores = [scores_folder(folder, name, places).name for name in datasets_scored(folder, places)]
    code = imported_source_key(__name__)
    key = content_key(places.evaluation, places.test_datasets, scores, code, evaluating_libraries())
    return places.evaluations / f"{run_id}-{key}"


def evaluating_libraries() -> dict[str, str]:
    """Versions of the libraries that an evaluation depends on."""
    return {name: versions()[name] for name in _DECIDING_LIBRARIES}


def evaluated(folder: Path, places: StudyPlaces) -> Path:
    """Folder of the evaluation of the run in ``folder``, made now unless it is there: whole, or not at all."""
    final = evaluation_folder(folder, places)
    if final.exists():
        return final
    # chosen on the set trained on, and held for every set tested on
    thresholds = thresholds_chosen_on(folder, read_record(folder).config.dataset, places)
    scores, cohort = scores_of_tests(folder, places), cohort_tested_on(places)
    evaluation = evaluate(scores, cohort, places.evaluation, values_of(thresholds))
    with whole_folder(final, "metrics.parquet") as made:
        if thresholds is not None:
            write_json(made / "thresholds.json", asdict(thresholds))
        for dataset, draws in evaluation.draws.items():
            write_draws(made / f"draws-{dataset}.npz", draws)
        evaluation.metrics.to_parquet(made / "metrics.parquet")
    return final


def cohort_tested_on(places: StudyPlaces) -> pd.DataFrame:
    """Cohort rows of all test images of the study."""
    stores = [open_store(places.store(name)) for name in places.test_datasets]
    return pd.concat([store.cohort.iloc[rows_of(store, "test")] for store in stores], ignore_index=True)
