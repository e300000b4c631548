"""Runs of a study: trained, recorded and scored; many at once.

Each part is named by the content of what it depends on, so that running a grid again redoes only what changed. What the
scores amount to is computed apart, by ``dpcxr_core.study.evaluating``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from dpcxr_core.config import RunConfig, UserError
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.recording import recorded
from dpcxr_core.study.scoring import score_images
from dpcxr_core.training.loop import DivergedError
from dpcxr_core.training.ranks import ALONE, Ranks
from dpcxr_core.workers import each_by_itself, worker_pool


def run_one(
    config: RunConfig,
    places: StudyPlaces,
    *,
    progress: bool = False,
    ranks: Ranks = ALONE,
    checkpoint_every: float = 60.0,
) -> Path:
    """Folder of the finished record of one run, whose images to test on are scored; what is there is not repeated.

    With several ranks all of them train; the first scores.

    Args:
        config: The choices of the run.
        places: Where images, weights, records and scores are.
        progress: Whether to show a bar.
        ranks: The processes that do this run together.
        checkpoint_every: Seconds between checkpoints at the least; 0 for one after every step.

    Raises:
        As ``recorded`` and ``score_images``.
    """
    folder = recorded(config, places, progress=progress, ranks=ranks, checkpoint_every=checkpoint_every)
    if ranks.is_first:
        score_images(folder, places)
    return folder


def run_many(configs: Sequence[RunConfig], places: StudyPlaces, *, n_jobs: int) -> list[Path]:
    """Record folders of all ``configs``, in their order, ``n_jobs`` processes of one thread each.

    Runs already recorded are not repeated. When one fails, the others still finish.

    Raises:
        UserError: At least one run failed; the first reason is given.
    """
    finished, failures = _run_all(configs, places, n_jobs)
    _refuse(failures, configs)
    return [finished[index] for index in range(len(configs))]


def run_many_that_may_diverge(configs: Sequence[RunConfig], places: StudyPlaces, *, n_jobs: int) -> list[Path | None]:
    """As ``run_many``, with None for each run whose loss stopped being finite: for ablations, where that is a result.

    Raises:
        UserError: At least one run failed in another way; the first reason is given.
    """
    finished, failures = _run_all(configs, places, n_jobs)
    _refuse({index: error for index, error in failures.items() if not isinstance(error, DivergedError)}, configs)
    return [finished.get(index) for index in range(len(configs))]


def _run_all(
    configs: Sequence[RunConfig], places: StudyPlaces, n_jobs: int
) -> tuple[dict[int, Path], dict[int, Exception]]:
    """Record folders of the runs that finished and errors of those that failed, by their place in ``configs``."""
    finished: dict[int, Path] = {}
    failures: dict[int, Exception] = {}
    ended = each_by_itself(worker_pool, n_jobs, run_one, [(config, places) for config in configs])
    for index, future in tqdm(ended, total=len(configs), desc="runs", mininterval=5):
        try:
            finished[index] = future.result()
        except Exception as error:  # every failure is reported by name, once all runs are through
            failures[index] = error
    return finished, failures


def _refuse(failures: Mapping[int, Exception], configs: Sequence[RunConfig]) -> None:
    for index, error in failures.items():
        raise UserError(
            f"{len(failures)} of {len(configs)} runs failed; first: "
            f"{configs[index].init_name} ({configs[index].kind}): {error}"
        )
