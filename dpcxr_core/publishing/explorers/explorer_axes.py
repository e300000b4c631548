"""What the explorer can show of a metrics table: test sets, findings, metrics, group columns, and their labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.gaps import GAP_NAME
from dpcxr_core.publishing.results import metric_name


@dataclass(frozen=True)
class Shown:
    """How a metric is shown.

    Attributes:
        reading: Which values are good, in words.
        gaps: The gaps between groups that are shown with it.
        base: Where its bars start.
        two_sided: Whether it errs to both sides of ``base``, its ideal, which its curve then shows too.
    """

    reading: str
    gaps: tuple[str, ...] = ()
    base: float = 0.0
    two_sided: bool = False


METRICS_SHOWN: dict[str, Shown] = {
    "auroc": Shown("1 is best, 0.5 is chance.", ("auroc_difference", "auroc_range"), base=0.5),
    "auprc": Shown("1 is best, the prevalence is chance."),
    "tpr": Shown("1 is best.", ("tpr_difference", "equalized_odds_difference")),
    "fpr": Shown("0 is best.", ("fpr_difference", "equalized_odds_difference")),
    "ppv": Shown("1 is best.", ("ppv_difference",)),
    "npv": Shown("1 is best."),
    "f1": Shown("1 is best."),
    "selection_rate": Shown("Neither end is best.", ("selection_rate_difference",)),
    "brier": Shown("0 is best. It moves with prevalence."),
    "ece": Shown("0 is best. Chance adds to it, the more so the smaller the group.", ("ece_difference",)),
    "calibration_slope": Shown(
        "1 is ideal. Below 1, scores are too extreme; above 1, too moderate.", base=1.0, two_sided=True
    ),
    "calibration_in_the_large": Shown(
        "0 is ideal, in log odds. Above 0, scores are too low on the whole; below 0, too high.",
        ("calibration_in_the_large_difference",),
        two_sided=True,
    ),
}
_SEX = {"F": "female", "M": "male"}


@dataclass(frozen=True)
class Axes:
    """The axes of the packed numbers, in their order.

    Attributes:
        tests: Test sets.
        findings: Findings.
        metrics: Entries with ``key``, ``label`` and the fields of ``Shown``.
        columns: Group columns, entries with ``key`` and ``label``.
        slots: Entries with ``metric``, ``column``, ``value`` (the group's) and ``label``.
    """

    tests: list[str]
    findings: list[str]
    metrics: list[dict[str, Any]]
    columns: list[dict[str, str]]
    slots: list[dict[str, str]]

    def slots_of(self, table: pd.DataFrame) -> NDArray[np.intp]:
        """For each row of ``table``, its place in ``slots``; -1 where it has none."""
        named = pd.MultiIndex.from_tuples([(one["metric"], one["column"], one["value"]) for one in self.slots])
        return named.get_indexer(pd.MultiIndex.from_frame(table[["metric", "group_column", "group_value"]]))

    @property
    def slots_of_all(self) -> list[int]:
        """For each metric, the slot of all patients."""
        place = {one["metric"]: index for index, one in enumerate(self.slots) if one["column"] == "all"}
        return [place[metric["key"]] for metric in self.metrics]


def axes_of(table: pd.DataFrame, first_finding: str) -> Axes:
    """The axes of a METRICS table; its findings start with ``first_finding``, if that is among them."""
    of_all = set(table.loc[table["group_column"] == "all", "metric"])
    metrics: list[dict[str, Any]] = [
        {"key": key, "label": metric_name(key), **asdict(shown)}
        for key, shown in METRICS_SHOWN.items()
        if key in of_all
    ]
    named = {metric["key"] for metric in metrics} | {gap for metric in metrics for gap in metric["gaps"]}
    slots = table.loc[table["metric"].isin(named), ["metric", "group_column", "group_value"]].drop_duplicates()
    columns = [column for column in dict.fromkeys(slots["group_column"]) if column != "all"]
    return Axes(
        tests=list(dict.fromkeys(table["dataset"])),
        findings=sorted(dict.fromkeys(table["finding"]), key=lambda name: name != first_finding),
        metrics=metrics,
        columns=[{"key": column, "label": column.replace("_", " ")} for column in columns],
        slots=[
            {"metric": metric, "column": column, "value": value, "label": _slot_label(metric, column, value)}
            for metric, column, value in slots.itertuples(index=False)
        ],
    )


def group_label(column: str, value: str) -> str:
    """A group as a reader sees it.

    Example:
        >>> group_label("sex", "F"), group_label("sex_and_age", "M, 70+"), group_label("view", "AP")
        ('female', 'male, 70+ years', 'AP')
    """
    if column == "sex_and_age":
        sex, age = value.split(", ")
        return f"{group_label('sex', sex)}, {group_label('age_band', age)}"
    return _SEX.get(value, value) if column == "sex" else f"{value} years" if column == "age_band" else value


def gap_label(metric: str, column: str, value: str) -> str:
    """A gap between groups as a reader sees it.

    Example:
        >>> gap_label("auroc_difference", "sex", "F-M"), gap_label("tpr_difference", "sex", "max-min")
        ('AUROC difference (female minus male)', 'TPR difference (largest minus smallest)')
    """
    if value == GAP_NAME:
        return f"{metric_name(metric)} (largest minus smallest)"
    pair = value.split(" - ") if " - " in value else value.split("-")
    between = " minus ".join(group_label(column, part) for part in pair) if len(pair) == 2 else value
    return f"{metric_name(metric)} ({between})"


def _slot_label(metric: str, column: str, value: str) -> str:
    return group_label(column, value) if metric in METRICS_SHOWN else gap_label(metric, column, value)
