"""Axes to draw on, and small results: three initialisations, two test sets, two epsilons and none, two seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from dpcxr_core.publishing import figures
from dpcxr_core.publishing.results import RUN_COLUMNS

LABELS = ("random", "non-domain supervised (stand-in)", "domain supervised (stand-in)")
LEVELS = {1.0: 0.05, 8.0: 0.02, math.nan: 0.0}  # AUROC lost to privacy


def _metric(run_id: str, dataset: str, metric: str, column: str, group: str, value: float) -> dict:
    return {
        "run_id": run_id,
        "dataset": dataset,
        "finding": "macro",
        "metric": metric,
        "group_column": column,
        "group_value": group,
        "n": 1000,
        "n_positive": 200,
        "value": value,
        "low": value - 0.02,
        "high": value + 0.02,
        "noise_floor": 0.01 if group == "max-min" else math.nan,
        "reason": "",
    }


def _metrics_of(run_id: str, dataset: str, auroc: float) -> list[dict]:
    groups = [("all", "all", 0.0), ("sex", "F", -0.01), ("sex", "M", 0.01)]
    groups += [("age_band", "0-39", 0.02), ("age_band", "40-69", 0.0), ("age_band", "70+", -0.03)]
    rows = [_metric(run_id, dataset, "auroc", c, g, auroc + shift) for c, g, shift in groups]
    return [
        *rows,
        _metric(run_id, dataset, "auroc_difference", "sex", "F-M", -0.02),
        _metric(run_id, dataset, "auroc_difference", "age_band", "70+ - 0-39", -0.05),
        _metric(run_id, dataset, "tpr_difference", "sex", "max-min", 0.04),
        _metric(run_id, dataset, "equalized_odds_difference", "age_band", "max-min", 0.09),
    ]


@pytest.fixture(autouse=True)
def _options_of_pandas() -> Iterator[None]:
    """As they were, when the test is over: the house style sets one for the whole process."""
    with pd.option_context("display.max_colwidth", pd.get_option("display.max_colwidth")):
        yield


@pytest.fixture
def ax() -> Iterator[plt.Axes]:
    """Axes in the house style; what cannot be laid out fails when the test is over."""
    with matplotlib.rc_context():
        figures.use_house_style()
        figure, ax = plt.subplots()
        yield ax
        figure.canvas.draw()
        plt.close("all")


@pytest.fixture
def results() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A metrics table and its runs table."""
    runs, metrics = [], []
    for position, label in enumerate(LABELS):
        for epsilon, loss in LEVELS.items():
            for seed in (0, 1):
                private = not math.isnan(epsilon)
                run_id = f"{position}-{epsilon}-{seed}"
                kind = "private" if private else "non_private"
                spent = epsilon - 0.01
                runs.append((run_id, "hospital_a", f"net.{position}", label, epsilon, spent, seed, kind))
                for dataset, shift in (("hospital_a", 0.0), ("hospital_b", -0.03)):
                    auroc = 0.75 + 0.06 * position - loss * (3 - position) + 0.01 * seed + shift
                    metrics += _metrics_of(run_id, dataset, auroc)
    runs.append(("public", "public", "net.2", LABELS[2], math.nan, math.nan, 0, "public_only"))
    for dataset in ("hospital_a", "hospital_b"):
        metrics += _metrics_of("public", dataset, 0.86)
    return pd.DataFrame(metrics), pd.DataFrame(runs, columns=list(RUN_COLUMNS))
