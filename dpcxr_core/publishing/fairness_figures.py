"""Figures about groups of patients: forests of gaps, what is left of them, AUROC along age."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from dpcxr_core.evaluation.comparing.seeds import over_seeds
from dpcxr_core.publishing.figures import check_one_metric
from dpcxr_core.publishing.palette import SERIES, init_colours
from dpcxr_core.publishing.results import CONDITION, level_name, metric_name

# told apart without colour: filled with privacy, hollow without, a diamond for what saw public data only
_MARKERS = {"private": "o", "non_private": "s", "public_only": "D"}
_LINES = ("-", "--", "-.", ":")


def plot_gap_forest(table: pd.DataFrame, ax: Axes) -> None:
    """Draw one gap of every condition on ``ax``: a point the mean over seeds, a bar the envelope of their intervals.

    A short grey line beside a max-min gap is its noise floor: the gap to expect with no true difference.

    Args:
        table: ``metrics_with_runs`` of one test set and finding, one gap metric, one group column.
        ax: Where to draw.

    Raises:
        UserError: The table is empty, or holds more than one metric, test set, finding or group.
    """
    check_one_metric(table)
    rows = over_seeds(table, by=CONDITION)
    rows = rows.sort_values(["init_label", "kind", "target_epsilon"], ascending=[True, False, True])
    colours = init_colours(sorted(rows["init_label"].unique()))
    names = []
    for position, row in enumerate(rows.to_dict("records")):
        names.append(f"{row['init_label']}, {level_name(row['target_epsilon'], row['kind'])}")
        _draw_row(ax, position, row, colours[row["init_label"]], _MARKERS[row["kind"]])
        if not math.isnan(row["noise_floor"]):
            ax.plot([row["noise_floor"]] * 2, [position - 0.38, position + 0.38], color="#555555", linewidth=1.6)
    _name_rows(ax, names)
    column = rows["group_column"].iloc[0].replace("_", " ")
    gap = fill(metric_name(rows["metric"].iloc[0]), width=20)
    ax.set_xlabel(f"{gap},\n{rows['group_value'].iloc[0]} by {column}")


def plot_contrast_forest(contrasts: pd.DataFrame, ax: Axes) -> None:
    """Draw differences of gaps on ``ax``, a row an initialisation and target epsilon.

    The thick bar is the 95% interval over other patients, the thin one over other patients and other seeds.

    Args:
        contrasts: ``moved_by_privacy`` or ``changed_by_initialisation`` of one gap.
        ax: Where to draw.
    """
    colours = init_colours(sorted(contrasts["init_label"].unique()))
    names = []
    for position, row in enumerate(contrasts.sort_values(["init_label", "target_epsilon"]).to_dict("records")):
        names.append(f"{row['init_label']}, {level_name(row['target_epsilon'])}")
        colour = colours[row["init_label"]]
        if not math.isnan(row["low_with_seeds"]):
            ax.plot([row["low_with_seeds"], row["high_with_seeds"]], [position] * 2, color=colour, linewidth=1)
        _draw_row(ax, position, row, colour, "o", linewidth=3.2)
    _name_rows(ax, names)
    gap = contrasts.iloc[0]
    ax.set_xlabel(f"{gap['minuend']} minus {gap['subtrahend']},\nby {gap['group_column'].replace('_', ' ')}")


def plot_held_still(table: pd.DataFrame, ax: Axes) -> None:
    """Draw one signed difference as it is and as adjusted on ``ax``: a row a group column, a colour a level of privacy.

    Args:
        table: ``metrics_with_runs`` of one metric, finding, contrast and initialisation; ``group_column`` says what was
            held still.
        ax: Where to draw.
    """
    rows = over_seeds(table, by=CONDITION)
    columns = list(dict.fromkeys(rows["group_column"]))
    levels = list(dict.fromkeys(level_name(row["target_epsilon"], row["kind"]) for row in rows.to_dict("records")))
    for row in rows.to_dict("records"):
        level = level_name(row["target_epsilon"], row["kind"])
        place = levels.index(level)
        position = columns.index(row["group_column"]) + (place - (len(levels) - 1) / 2) * 0.24
        _draw_row(ax, position, row, SERIES[place % len(SERIES)], _MARKERS[row["kind"]], label=level)
    _name_rows(ax, [column.replace("_", " ") for column in columns])
    ax.set_xlabel(f"{metric_name(rows['metric'].iloc[0])}, {rows['group_value'].iloc[0]}")
    _legend_once(ax)


def plot_age_windows(table: pd.DataFrame, ax: Axes) -> None:
    """Draw AUROC in a sliding window of age on ``ax``: a line a level of privacy, the band its seeds' 95% intervals.

    Args:
        table: ``metrics_with_runs`` of ``auroc_by_age_window``, of one initialisation and finding.
        ax: Where to draw.
    """
    rows = over_seeds(table, by=CONDITION)
    windows = list(dict.fromkeys(rows["group_value"]))
    conditions = rows.drop_duplicates(["kind", "target_epsilon"]).to_dict("records")
    for place, condition in enumerate(conditions):
        name = level_name(condition["target_epsilon"], condition["kind"])
        line = rows[[level_name(e, k) == name for e, k in zip(rows["target_epsilon"], rows["kind"], strict=True)]]
        at = [windows.index(window) for window in line["group_value"]]
        colour = SERIES[place % len(SERIES)]
        ax.fill_between(at, line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(
            at, line["value"], color=colour, linestyle=_LINES[place % len(_LINES)], marker="o", markersize=4, label=name
        )
    ax.set_xticks(range(len(windows)), windows, rotation=60)
    ax.set_xlabel("age in years")
    ax.set_ylabel(f"{table['finding'].iloc[0].replace('_', ' ')} AUROC")
    ax.legend()


def _draw_row(
    ax: Axes,
    position: float,
    row: Mapping[Hashable, Any],
    colour: str,
    marker: str,
    linewidth: float = 1.6,
    label: str = "",
) -> None:
    """A point and its interval; a word in their place where there is no value."""
    if math.isnan(row["value"]):
        ax.text(0, position, " not shown", va="center", fontsize=9)
        return
    ax.errorbar(
        row["value"],
        position,
        xerr=[[row["value"] - row["low"]], [row["high"] - row["value"]]],
        color=colour,
        marker=marker,
        markerfacecolor="white" if marker == _MARKERS["non_private"] else colour,
        linewidth=linewidth,
        label=label or None,
    )


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names at the rows, the first on top, and a line at no difference."""
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)


def _legend_once(ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    ax.legend(once.values(), once.keys(), loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
