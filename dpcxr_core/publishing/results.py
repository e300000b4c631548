"""Metrics joined with their runs: the one table that figures and the explorer draw from."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.groups import MIN_COUNT
from dpcxr_core.tables import METRICS, checked

RUN_COLUMNS = (
    "run_id",
    "train_dataset",
    "init_name",
    "init_label",
    "target_epsilon",
    "epsilon_spent",
    "seed",
    "kind",
)
_ABBREVIATIONS = ("auroc", "auprc", "tpr", "fpr", "ppv", "npv", "f1", "ece")
KINDS = ("private", "non_private", "public_only")
CONDITION = ["train_dataset", "init_label", "target_epsilon", "kind"]


def metrics_with_runs(metrics: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Each metric beside the columns of its run, with small cells blanked.

    Args:
        metrics: METRICS table of any number of runs.
        runs: One row a run, with ``RUN_COLUMNS``; ``target_epsilon`` is NaN without privacy. Runs that
            differ only in their seed are repetitions of one condition.

    Returns:
        The METRICS columns and ``RUN_COLUMNS``. Values, and their intervals, that rest on fewer than 10
        images or positives are NaN, with a reason.

    Raises:
        UserError: A column is missing, a kind is unknown, a metric's run is not among ``runs``, or two
            runs share a condition and a seed.
    """
    missing = [column for column in RUN_COLUMNS if column not in runs.columns]
    if missing:
        raise UserError(f"the runs table lacks the columns {missing}; it needs {list(RUN_COLUMNS)}.")
    runs = runs[list(RUN_COLUMNS)]
    kinds = set(runs["kind"]) - set(KINDS)
    if kinds:
        raise UserError(f"kind must be one of {list(KINDS)}; got {sorted(kinds)}.")
    twice = runs[runs.duplicated([*CONDITION, "seed"], keep=False)]
    if len(twice):
        raise UserError(
            f"the runs {twice['run_id'].head(3).tolist()} share training data, initialisation, epsilon and "
            "seed. Keep one of them, or tell them apart in init_label."
        )
    metrics = checked(metrics, METRICS)
    strangers = set(metrics["run_id"]) - set(runs["run_id"])
    if strangers:
        raise UserError(f"the runs table lacks the runs {sorted(strangers)[:3]}, of which there are metrics.")
    return without_small_cells(metrics).merge(runs, on="run_id", how="inner", validate="many_to_one")


def without_small_cells(metrics: pd.DataFrame) -> pd.DataFrame:
    """``metrics``, where what rests on fewer than 10 images or positives is NaN, with a reason."""
    table = metrics.copy()
    small = (table["n"] < MIN_COUNT) | (table["n_positive"] < MIN_COUNT)
    table.loc[small, ["value", "low", "high"]] = np.nan
    table.loc[small, "reason"] = f"fewer than {MIN_COUNT} images or positives"
    return table


def metric_name(metric: str) -> str:
    """A metric as a reader sees it.

    Example:
        >>> metric_name("auroc_difference"), metric_name("equalized_odds_difference_mean")
        ('AUROC difference', 'equalized odds difference, mean')
    """
    words = [word.upper() if word in _ABBREVIATIONS else word for word in metric.removesuffix("_mean").split("_")]
    return " ".join(words) + (", mean" if metric.endswith("_mean") else "")


def epsilon_label(target_epsilon: float) -> str:
    """A target epsilon as an axis names it; a run without privacy has NaN.

    Example:
        >>> epsilon_label(3.0), epsilon_label(float("nan"))
        ('3', 'no privacy')
    """
    return "no privacy" if math.isnan(target_epsilon) else f"{target_epsilon:g}"


def level_name(target_epsilon: float, kind: str = "") -> str:
    """A level of privacy in words.

    Example:
        >>> level_name(3.0), level_name(float("nan")), level_name(float("nan"), "public_only")
        ('epsilon 3', 'no privacy', 'public data only')
    """
    if kind == "public_only":
        return "public data only"
    label = epsilon_label(target_epsilon)
    return label if label == "no privacy" else f"epsilon {label}"
