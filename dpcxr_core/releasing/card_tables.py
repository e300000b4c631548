"""The tables of a model card, in Markdown: what the model scored, on which images, in which groups."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.publishing.results import metric_name
from dpcxr_core.publishing.tables import with_intervals

_RATES = ("auroc", "tpr", "fpr")
_GAPS = ("auroc_difference", "tpr_difference", "fpr_difference")


def by_test_set(metrics: pd.DataFrame) -> str:
    """Macro AUROC on all test images of each data set.

    Args:
        metrics: As ``collecting.shareable_metrics``, of one run; so in the other tables.
    """
    rows = _chosen(metrics, ["auroc"], MACRO, whole=True)
    return markdown(_side_by_side(rows, ["dataset"], {"dataset": "test images of"}))


def by_finding(metrics: pd.DataFrame, dataset: str) -> str:
    """AUROC, TPR and FPR of each finding on all test images of ``dataset``."""
    rows = _chosen(metrics[metrics["dataset"] == dataset], _RATES, None, whole=True)
    return markdown(_side_by_side(rows, ["finding"], {"finding": "finding"}))


def by_group(metrics: pd.DataFrame, dataset: str) -> str:
    """Macro AUROC, TPR and FPR of each group of ``dataset``."""
    rows = _chosen(metrics[metrics["dataset"] == dataset], _RATES, MACRO, whole=False)
    return markdown(
        _side_by_side(rows, ["group_column", "group_value"], {"group_column": "by", "group_value": "group"})
    )


def gaps(metrics: pd.DataFrame, dataset: str) -> str:
    """Macro gaps between groups of ``dataset``, each beside the one that chance alone would make."""
    rows = _chosen(metrics[metrics["dataset"] == dataset], _GAPS, MACRO, whole=False)
    return markdown(
        pd.DataFrame(
            {
                "gap": rows["metric"].map(metric_name),
                "by": rows["group_column"],
                "groups": rows["group_value"],
                "value (95% interval)": _shown(rows),
                "by chance alone": ["" if pd.isna(floor) else f"{floor:.3f}" for floor in rows["noise_floor"]],
            }
        )
    )


def markdown(table: pd.DataFrame) -> str:
    """``table`` as Markdown, without its index."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("_", " ") for cell in line) + " |" for line in lines)


def _chosen(metrics: pd.DataFrame, names: Sequence[str], finding: str | None, *, whole: bool) -> pd.DataFrame:
    rows = metrics[metrics["metric"].isin(names) & ((metrics["group_column"] == "all") == whole)]
    return rows if finding is None else rows[rows["finding"] == finding]


def _side_by_side(rows: pd.DataFrame, by: Sequence[str], names: dict[str, str]) -> pd.DataFrame:
    """A row for each of ``by``, with its images, and a column for each metric."""
    images = rows.drop_duplicates(by).set_index(by)["n"]
    cells = rows.assign(cell=_shown(rows)).pivot(index=by, columns="metric", values="cell").loc[images.index]
    shown = cells[[name for name in _RATES if name in cells]].rename(
        columns=lambda name: f"{name.upper()} (95% interval)"
    )
    counts = ["withheld" if pd.isna(n) else f"{n:,}" for n in images]
    shown.insert(0, "images", counts)
    return shown.reset_index().rename(columns=names).rename_axis(columns=None)


def _shown(rows: pd.DataFrame) -> list[str]:
    """Value with interval, or why there is none."""
    return [
        reason if pd.isna(value) and reason else text
        for value, reason, text in zip(rows["value"], rows["reason"], with_intervals(rows), strict=True)
    ]
