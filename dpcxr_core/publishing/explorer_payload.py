"""Everything that the explorer shows, computed beforehand as JSON values."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.seeds import over_seeds
from dpcxr_core.evaluation.groups import MIN_COUNT
from dpcxr_core.publishing.palette import init_colours
from dpcxr_core.publishing.results import CONDITION, epsilon_label, metrics_with_runs

MACRO = "macro"
_GAP_NAMES = {
    "auroc_difference": "AUROC difference",
    "auroc_range": "AUROC range",
    "tpr_difference": "TPR difference",
    "equalized_odds_difference": "equalized odds difference",
}
_COLUMN_NAMES = {"sex": "sex", "age_band": "age band"}
_BETWEEN = {"F-M": "female minus male", "max-min": "largest minus smallest"}
_GROUP_NAMES = {"F": "female", "M": "male"}


def explorer_payload(metrics: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    """What the explorer looks up, as JSON values with no NaN: undefined is None, with its reason.

    Seeds of one condition are brought together: the mean, the seeds as points, and an interval that spans
    those of all seeds. Cells that rest on fewer than 10 images or positives are blank, and where one group
    is, the counts of its neighbours are blank too, so that it cannot be found by subtraction.

    Args:
        metrics: METRICS table; the rows of finding "macro" are shown.
        runs: Runs table, see ``metrics_with_runs``.

    Returns:
        ``evaluations`` (data set trained on and tested on), ``initialisations``, ``levels`` (epsilons, at
        the end no privacy), ``gaps``, the chart's ``group_domain``, ``start`` (indices chosen first),
        ``cells[evaluation][initialisation][level]`` (None where there is no run) and
        ``public_only[evaluation]``.

    Raises:
        UserError: As ``metrics_with_runs``, or there is no macro AUROC of a run trained on private images.
    """
    joined = metrics_with_runs(metrics, runs)
    joined = joined[joined["finding"] == MACRO]
    table = over_seeds(joined, by=CONDITION)
    trained = table[(table["kind"] != "public_only") & (table["metric"] == "auroc")]
    if trained.empty:
        raise UserError("there is no macro AUROC of a private or non-private run to explore.")
    evaluations = [tuple(pair) for pair in trained[["train_dataset", "dataset"]].drop_duplicates().to_numpy()]
    labels = list(dict.fromkeys(trained["init_label"]))
    epsilons = sorted(trained["target_epsilon"].unique(), key=lambda e: (math.isnan(e), e))
    gaps = _gaps(table)
    cells = [
        [[_cell(joined, table, pair, label, epsilon, gaps) for epsilon in epsilons] for label in labels]
        for pair in evaluations
    ]
    colours = init_colours(labels)
    public_only = [_public_only(table, dataset) for _, dataset in evaluations]
    return {
        "evaluations": [
            {"label": _evaluation_label(*pair), "domain": _auroc_domain(row, reference)}
            for pair, row, reference in zip(evaluations, cells, public_only, strict=True)
        ],
        "initialisations": [{"label": label, "colour": colours[label]} for label in labels],
        "levels": [_level(epsilon) for epsilon in epsilons],
        "gaps": gaps,
        "group_domain": _group_domain(table),
        "start": {"evaluation_index": 0, "init_index": 0, "gap_index": 0, "epsilon_index": 0},
        "cells": cells,
        "public_only": public_only,
    }


def _evaluation_label(train_dataset: str, dataset: str) -> str:
    return f"{dataset} (internal)" if train_dataset == dataset else f"{dataset} (external to {train_dataset})"


def _level(epsilon: float) -> dict[str, str]:
    label = epsilon_label(epsilon)
    return {"label": label, "words": label if math.isnan(epsilon) else f"epsilon of at most {label}"}


def _gaps(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The gap metrics that ``table`` holds, each with the axis that fits all its intervals and zero."""
    found = []
    for metric, name in _GAP_NAMES.items():
        for column, by in _COLUMN_NAMES.items():
            rows = table[(table["metric"] == metric) & (table["group_column"] == column)]
            if len(rows):
                between = _BETWEEN.get(rows["group_value"].iloc[0], rows["group_value"].iloc[0])
                found.append(
                    {
                        "key": f"{metric}|{column}",
                        "label": f"{name} by {by} ({between})",
                        "domain": _padded([0.0, *_ends(rows)], 0.01),
                    }
                )
    return found


def _cell(
    joined: pd.DataFrame,
    table: pd.DataFrame,
    pair: tuple[str, str],
    label: str,
    epsilon: float,
    gaps: list[dict[str, Any]],
) -> dict[str, Any] | None:
    """All numbers of one data set, initialisation and epsilon; None where there is no run."""
    rows = _of_condition(table, pair, label, epsilon)
    overall = rows[(rows["metric"] == "auroc") & (rows["group_column"] == "all")]
    if overall.empty:
        return None
    raw = _of_condition(joined, pair, label, epsilon)
    raw = raw[(raw["metric"] == "auroc") & (raw["group_column"] == "all")]
    by_key = {f"{row['metric']}|{row['group_column']}": _estimate(row) for row in _records(rows)}
    return {
        "auroc": _estimate(_records(overall)[0]),
        "n": _count(overall["n"].iloc[0]),
        "seeds": [round(float(value), 4) for value in raw["value"].dropna()],
        "spent": _finite(raw["epsilon_spent"].max()),
        "groups": _groups(rows),
        "gaps": {gap["key"]: by_key.get(gap["key"]) for gap in gaps},
    }


def _of_condition(table: pd.DataFrame, pair: tuple[str, str], label: str, epsilon: float) -> pd.DataFrame:
    return table[
        (table["kind"] != "public_only")
        & (table["train_dataset"] == pair[0])
        & (table["dataset"] == pair[1])
        & (table["init_label"] == label)
        & ((table["target_epsilon"] == epsilon) | (math.isnan(epsilon) & table["target_epsilon"].isna()))
    ]


def _groups(rows: pd.DataFrame) -> list[dict[str, Any]]:
    found = []
    for column in _COLUMN_NAMES:
        groups = rows[(rows["metric"] == "auroc") & (rows["group_column"] == column)]
        counts_shown = (groups["n"] >= MIN_COUNT).all()
        for row in _records(groups):
            name = _GROUP_NAMES.get(row["group_value"], f"{row['group_value']} years")
            count = _count(row["n"]) if counts_shown else None
            found.append({"label": name, "auroc": _estimate(row), "n": count})
    return found


def _public_only(table: pd.DataFrame, dataset: str) -> list[dict[str, Any]]:
    rows = table[
        (table["kind"] == "public_only")
        & (table["dataset"] == dataset)
        & (table["metric"] == "auroc")
        & (table["group_column"] == "all")
    ].drop_duplicates("init_label")
    return [{"label": row["init_label"], "auroc": _estimate(row)} for row in _records(rows)]


def _records(rows: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return rows.to_dict("records")


def _estimate(row: dict[Hashable, Any]) -> dict[str, Any]:
    ends = {end: _finite(row[end]) for end in ("value", "low", "high")}
    return {**ends, "reason": row["reason"]}


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)


def _count(n: int) -> int | None:
    return int(n) if n >= MIN_COUNT else None


def _ends(rows: pd.DataFrame) -> list[float]:
    return [x for x in rows[["value", "low", "high"]].to_numpy(dtype=float).ravel() if not math.isnan(x)]


def _padded(values: Iterable[float], pad: float) -> list[float]:
    known = list(values)
    return [round(float(np.min(known)) - pad, 4), round(float(np.max(known)) + pad, 4)]


def _auroc_domain(row: list, reference: list[dict[str, Any]]) -> list[float]:
    """Axis that fits every interval, seed and reference of one data set, so that it never jumps."""
    estimates = [cell["auroc"] for cells in row for cell in cells if cell] + [r["auroc"] for r in reference]
    values = [e[end] for e in estimates for end in ("value", "low", "high") if e[end] is not None]
    values += [seed for cells in row for cell in cells if cell for seed in cell["seeds"]]
    return _padded(values or [0.5, 1.0], 0.01)


def _group_domain(table: pd.DataFrame) -> list[float]:
    rows = table[(table["metric"] == "auroc") & (table["group_column"] != "all")]
    return [round(min([0.5, *_ends(rows)]), 4), 1.0]
