"""Metrics joined with their runs: the one table that figures and the explorer draw from."""

from __future__ import annotations

import math

import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.small_counts import showable_metrics
from dpcxr_core.tables import METRICS, checked

# what tells runs apart besides their seed
CONDITION = ["train_dataset", "architecture", "init_label", "privacy_unit", "target_epsilon", "kind"]
RUN_COLUMNS = [*CONDITION, "run_id", "init_name", "seed", "epsilon_spent"]
_ABBREVIATIONS = ("auroc", "auprc", "tpr", "fpr", "ppv", "npv", "f1", "ece")
KINDS = ("private", "non_private", "public_only")
_KINDS_IN_WORDS = {"public_only": "public data only", "before_training": "before training"}


def metrics_with_runs(metrics: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Each metric beside the columns of its run, what ``showable_metrics`` does not show blanked.

    Args:
        metrics: METRICS table, whole and as evaluated, of any number of runs on the same test images.
        runs: One row a run, with ``RUN_COLUMNS``; ``target_epsilon`` is NaN without privacy. Runs that
            differ only in their seed are repetitions of one condition.

    Returns:
        The METRICS columns and ``RUN_COLUMNS``. Values, and their intervals, that rest on fewer than 10
        images or positives, or tell such a count, are NaN, with a reason.

    Raises:
        UserError: A column is missing, a kind is unknown, a metric's run is not among ``runs``, or two
            runs share a condition and a seed.
    """
    metrics, runs = checked(metrics, METRICS), checked_runs(metrics, runs)
    return showable_metrics(metrics).merge(runs, on="run_id", how="inner", validate="many_to_one")


def checked_runs(metrics: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The ``RUN_COLUMNS`` of ``runs``, once they are known to tell the runs of ``metrics`` apart.

    Raises:
        UserError: As ``metrics_with_runs``.
    """
    missing = [column for column in RUN_COLUMNS if column not in runs.columns]
    if missing:
        raise UserError(f"the runs table lacks the columns {missing}; it needs {RUN_COLUMNS}.")
    kinds = set(runs["kind"]) - set(KINDS)
    if kinds:
        raise UserError(f"kind must be one of {list(KINDS)}; got {sorted(kinds)}.")
    twice = runs[runs.duplicated([*CONDITION, "seed"], keep=False)]
    if len(twice):
        raise UserError(
            f"the runs {twice['run_id'].head(3).tolist()} share training data, architecture, initialisation, privacy "
            "unit, epsilon and seed. Keep one of them, or tell them apart in init_label."
        )
    strangers = set(metrics["run_id"].unique()) - set(runs["run_id"])
    if strangers:
        raise UserError(f"the runs table lacks the runs {sorted(strangers)[:3]}, of which there are metrics.")
    return runs[RUN_COLUMNS]


def metric_name(metric: str) -> str:
    """A metric as a reader sees it.

    Example:
        >>> metric_name("auroc_difference"), metric_name("equalized_odds_difference_mean")
        ('AUROC difference', 'equalized odds difference, mean')
    """
    if metric == "brier":
        return "Brier score"
    words = [word.upper() if word in _ABBREVIATIONS else word for word in metric.removesuffix("_mean").split("_")]
    return " ".join(words) + (", mean" if metric.endswith("_mean") else "")


def epsilon_label(target_epsilon: float) -> str:
    """A target epsilon as an axis names it; a run without privacy has NaN.

    Example:
        >>> epsilon_label(3.0), epsilon_label(float("nan"))
        ('3', 'no privacy')
    """
    return "no privacy" if math.isnan(target_epsilon) else f"{target_epsilon:g}"


def epsilons_of(rows: pd.DataFrame) -> list[float]:
    """The target epsilons in ``rows``, ascending; last NaN, if any are without privacy."""
    return rows["target_epsilon"].drop_duplicates().sort_values().tolist()


def level_name(target_epsilon: float, kind: str = "") -> str:
    """A level of privacy in words.

    Example:
        >>> level_name(3.0), level_name(float("nan")), level_name(float("nan"), "public_only")
        ('epsilon 3', 'no privacy', 'public data only')
    """
    if kind in _KINDS_IN_WORDS:
        return _KINDS_IN_WORDS[kind]
    label = epsilon_label(target_epsilon)
    return label if math.isnan(target_epsilon) else f"epsilon {label}"


def level_names(rows: pd.DataFrame) -> list[str]:
    """``level_name`` of every row, by its ``target_epsilon`` and ``kind``."""
    return [level_name(epsilon, kind) for epsilon, kind in zip(rows["target_epsilon"], rows["kind"], strict=True)]
