"""What the records of runs say about groups of patients, beyond the metrics table: tests, adjustments, movements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from dpcxr_core.evaluation.as_published import as_published
from dpcxr_core.evaluation.comparing.difference_in_differences import Gap, changed_by_initialisation, gap_movements
from dpcxr_core.evaluation.comparing.multiplicity import benjamini_hochberg, with_adjusted_p
from dpcxr_core.evaluation.comparing.permutation import GAP_TEST_COLUMNS, gap_tests
from dpcxr_core.evaluation.comparing.seeds import METRIC_KEY
from dpcxr_core.evaluation.draws import Draws
from dpcxr_core.evaluation.fairness.prevalence_matched import matched_differences
from dpcxr_core.evaluation.fairness.sliding_age import auroc_by_age_window
from dpcxr_core.evaluation.fairness.within import evaluate_within
from dpcxr_core.evaluation.groups import group_columns
from dpcxr_core.evaluation.scored_images import scored_images
from dpcxr_core.evaluation.small_counts import TELL_A_SHARE, hidden_by_row, showable_metrics
from dpcxr_core.study.evaluating import (
    cohort_tested_on,
    draws_by_run,
    metrics_table,
    thresholds_of,
    values_of,
)
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.scores import scores_on
from dpcxr_core.training.record import without_folder

_AGE_EDGES = range(0, 121, 10)


def strictest_and_without(folders: Sequence[Path], runs: pd.DataFrame, init_name: str) -> list[Path]:
    """Record folders of one initialisation with a new head, at its least epsilon and without privacy, seed by seed.

    Args:
        folders: Record folders, in the order of ``runs``.
        runs: Runs table.
        init_name: Full name of the initialisation.
    """
    numbered = runs.reset_index(drop=True)
    trained = numbered[(numbered["init_name"] == without_folder(init_name)) & (numbered["head"] == "reset")]
    chosen = (trained["target_epsilon"] == trained["target_epsilon"].min()) | (trained["kind"] == "non_private")
    return [folders[place] for place in trained[chosen].sort_values("seed", kind="stable").index.tolist()]


def tested_gaps(
    folders: Sequence[Path], places: StudyPlaces, dataset: str | None, columns: Sequence[str], n_permutations: int
) -> pd.DataFrame:
    """Permutation tests of the gaps of several runs on ``dataset``, adjusted as one family (Benjamini-Hochberg).

    Args:
        folders: Record folders.
        places: Of the study.
        dataset: A test set of the study; without one there is no test.
        columns: Group columns to test; those without a signed contrast have no AUROC difference.
        n_permutations: Of each test.

    Returns:
        Rows of ``gap_tests``, with ``family p_adjusted n_in_family``.
    """
    if dataset is None:
        return with_adjusted_p(pd.DataFrame(columns=GAP_TEST_COLUMNS), "no gaps", benjamini_hochberg)
    choice, cohort = replace(places.evaluation, group_columns=tuple(columns)), cohort_tested_on(places)
    tests = [
        gap_tests(
            images, column, values_of(thresholds_of(folder, places)), n_permutations=n_permutations, seed=choice.seed
        )
        for folder in folders
        for images in scored_images(scores_on(folder, dataset, places), cohort, choice)
        for column in images.columns[1:]
    ]
    return with_adjusted_p(pd.concat(tests, ignore_index=True), f"gaps on {dataset}", benjamini_hochberg)


def held_still(folders: Sequence[Path], places: StudyPlaces, columns: Sequence[str]) -> pd.DataFrame:
    """METRICS of several runs within each view, and at equal prevalence and age, on the internal test set.

    Args:
        folders: Record folders.
        places: Of the study.
        columns: Group columns to compare.
    """
    choice, cohort = replace(places.evaluation, group_columns=tuple(columns)), cohort_tested_on(places)
    tables = []
    for folder in folders:
        scores = scores_on(folder, places.private_dataset, places)
        thresholds = values_of(thresholds_of(folder, places))
        tables.append(evaluate_within(scores, cohort, choice, thresholds))
        for edges in ((), _AGE_EDGES):
            tables.append(matched_differences(scores, cohort, choice, thresholds, age_edges=edges))
    return pd.concat(tables, ignore_index=True)


def along_age(folders: Sequence[Path], places: StudyPlaces) -> pd.DataFrame:
    """METRICS of several runs in a sliding window of age, on the internal test set."""
    cohort = cohort_tested_on(places)
    tables = [
        auroc_by_age_window(scores_on(folder, places.private_dataset, places), cohort, places.evaluation)
        for folder in folders
    ]
    return pd.concat(tables, ignore_index=True)


def gaps_moved_by_privacy(
    folders: Sequence[Path], runs: pd.DataFrame, places: StudyPlaces, metric: str, finding: str
) -> pd.DataFrame:
    """``gap_movements`` of every signed contrast of groups on the internal test set, adjusted as one family.

    Args:
        folders: Record folders, in the order of ``runs``.
        runs: Runs table.
        places: Of the study.
        metric: "auroc", "tpr" or "fpr".
        finding: A finding, or "macro".

    Returns:
        The columns of ``gap_movements``, with ``family p_adjusted n_in_family`` (Benjamini-Hochberg).
    """
    moved = gap_movements(_draws(folders, places), runs, _contrasts(places, metric, finding))
    return with_adjusted_p(moved, "gaps moved by privacy", benjamini_hochberg)


def movements_changed_by_initialisation(
    folders: Sequence[Path], runs: pd.DataFrame, places: StudyPlaces, metric: str, finding: str, reference: str
) -> pd.DataFrame:
    """``changed_by_initialisation`` against the ``init_label`` ``reference``; else as ``gaps_moved_by_privacy``."""
    gaps = _contrasts(places, metric, finding)
    changed = changed_by_initialisation(_draws(folders, places), runs, gaps, reference)
    return with_adjusted_p(changed, "movements changed by initialisation", benjamini_hochberg)


def beside_published(folder: Path, places: StudyPlaces) -> pd.DataFrame:
    """One run's metrics on the internal test set beside those of the same scores as published.

    Returns:
        The columns of ``as_published``, with our ``value our_low our_high noise_floor reason``; rows that both have,
        as ``showable_metrics`` lets ours be seen. What it withholds is NaN as published, too.
    """
    choice, dataset = places.evaluation, places.private_dataset
    cohort = cohort_tested_on(places)
    theirs = as_published(scores_on(folder, dataset, places), cohort, choice)
    metrics = metrics_table([folder], places)
    ours = showable_metrics(metrics).rename(columns={"low": "our_low", "high": "our_high"})
    # not by our reason: theirs choose a threshold of their own, also where we have none
    ours["withheld"] = hidden_by_row(metrics)["positives"] & ours["metric"].isin(TELL_A_SHARE)
    numbers = ["value", "our_low", "our_high", "noise_floor", "reason", "withheld"]
    beside = theirs.merge(ours[[*METRIC_KEY, *numbers]], on=[*METRIC_KEY])
    beside.loc[beside["withheld"], ["as_published", "sd", "low", "high"]] = np.nan
    return beside.drop(columns="withheld")


def _draws(folders: Sequence[Path], places: StudyPlaces) -> dict[str, Draws]:
    return {run_id: draws[places.private_dataset] for run_id, draws in draws_by_run(folders, places).items()}


def _contrasts(places: StudyPlaces, metric: str, finding: str) -> list[Gap]:
    cohort = cohort_tested_on(places)
    parted = group_columns(cohort[cohort["dataset"] == places.private_dataset], places.evaluation)
    return [
        Gap(
            metric=metric,
            finding=finding,
            group_column=each.name,
            minuend=each.contrast[0],
            subtrahend=each.contrast[1],
        )
        for each in parted
        if each.contrast is not None
    ]
