"""Opacus beside this project, on all cores: which gradients are wrong, and what wrong gradients do to training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed

import numpy as np
import pandas as pd
from tqdm import tqdm

from dpcxr_core.config import RunConfig, UserError
from dpcxr_core.data.store import labels_of, open_store, rows_of
from dpcxr_core.evaluation.statistics.auroc import auroc
from dpcxr_core.other_engines.gradient_survey import GradientSurvey, survey_gradients
from dpcxr_core.other_engines.opacus_engine import OpacusMethod
from dpcxr_core.other_engines.swapped_gradients import private_updates
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.starts import start_of_run
from dpcxr_core.study.training_rows import training_rows
from dpcxr_core.training.initialisation import label_of
from dpcxr_core.training.loop import predict
from dpcxr_core.training.training_set import TrainingData
from dpcxr_core.workers import worker_pool

# In the order of figures and tables.
GRADIENTS: Mapping[str, OpacusMethod | None] = {
    "Opacus as shipped": OpacusMethod("hooks"),
    "Opacus, contiguous inputs": OpacusMethod("hooks", fixed=True),
    "this project": None,
}
_COLUMNS = ["gradients", "init_label", "seed", "step", "auroc"]


def survey_networks(networks: Sequence[str], methods: Sequence[OpacusMethod], *, n_jobs: int) -> GradientSurvey:
    """``survey_gradients`` of each network with two contiguous images, ``n_jobs`` processes of one thread each."""
    with worker_pool(n_jobs) as pool:
        futures = [pool.submit(survey_gradients, [network], methods, n_images=2) for network in networks]
        found = [future.result() for future in tqdm(futures, desc="networks", mininterval=5)]
    cases = pd.concat([each.cases for each in found], ignore_index=True)
    return GradientSurvey(cases, pd.concat([each.layers for each in found], ignore_index=True))


def compare_trainings(configs: Sequence[RunConfig], places: StudyPlaces, *, n_looks: int, n_jobs: int) -> pd.DataFrame:
    """Each run of ``configs`` with each of ``GRADIENTS``: test AUROC on the way.

    Args:
        configs: Runs that ``private_updates`` takes; none gives an empty table.
        places: Where images and weights are.
        n_looks: How often each training is scored on the test images of its own hospital, evenly spread over the
            steps, the last step included.
        n_jobs: Processes of one thread each.

    Returns:
        ``gradients init_label seed step auroc``, the mean over the findings. Computed from test images and covered by
        no guarantee.

    Raises:
        UserError: ``n_looks`` is below 1, or ``private_updates`` refuses a run.
    """
    if n_looks < 1:
        raise UserError(f"n_looks must be at least 1; got {n_looks}")
    if not configs:
        return pd.DataFrame(columns=_COLUMNS)
    work = [(config, name) for config in configs for name in GRADIENTS]
    found: dict[int, pd.DataFrame] = {}
    with worker_pool(n_jobs) as pool:
        futures = {pool.submit(_train, *each, places, n_looks): index for index, each in enumerate(work)}
        for future in tqdm(as_completed(futures), total=len(futures), desc="trainings", mininterval=5):
            found[futures[future]] = future.result()
    return pd.concat([found[index] for index in range(len(work))], ignore_index=True)


def _train(config: RunConfig, gradients: str, places: StudyPlaces, n_looks: int) -> pd.DataFrame:
    """One row a look at one training."""
    assert config.privacy is not None
    store = open_store(places.store(config.dataset))
    trained_on, tested_on = training_rows(store, config.train_fraction), rows_of(store, "test")
    y_true = labels_of(store, tested_on)
    start = start_of_run(config, places)
    data = TrainingData(store.images, labels_of(store, trained_on), rows=trained_on)
    looks = set(np.linspace(0, config.privacy.n_steps, n_looks + 1).round().astype(int)[1:] - 1)
    rows = []
    for update in private_updates(start.model, data, config, start.input_transform, GRADIENTS[gradients]):
        if update.step in looks:
            y_score = predict(update.model, store.images, start.input_transform, rows=tested_on)
            macro = float(np.mean([auroc(*pair) for pair in zip(y_true.T, y_score.T, strict=True)]))
            rows.append({"step": update.step, "auroc": macro})
    table = pd.DataFrame(rows).assign(gradients=gradients, init_label=label_of(config.init_name), seed=config.seed)
    return table[_COLUMNS]


def final_aurocs(aurocs: pd.DataFrame) -> pd.DataFrame:
    """The AUROC after the last step: a row an initialisation and seed, a column for each of ``GRADIENTS``."""
    last = aurocs[aurocs["step"] == aurocs["step"].max()]
    wide = last.pivot(index=["init_label", "seed"], columns="gradients", values="auroc")
    return wide[list(GRADIENTS)].rename_axis(columns=None)
