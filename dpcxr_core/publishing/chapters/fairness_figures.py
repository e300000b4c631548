"""Figures about groups of patients: forests of gaps, what is left of them, AUROC along age."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpcxr_core.evaluation.comparing.seeds import over_seeds
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.figures import check_one_metric
from dpcxr_core.publishing.forest import KIND_MARKERS, MARKERS, ROW, draw_row, in_order, legend_below, name_rows
from dpcxr_core.publishing.palette import GREY, SERIES, init_colours
from dpcxr_core.publishing.results import CONDITION, level_name, level_names, metric_name

_LINES = ("-", "--", "-.", ":")
_MOST_WINDOWS_NAMED = 12
_AROUND = 1.2  # inches above and below the rows of a forest


def plot_panels(table: pd.DataFrame, by: str, draw: Callable[[pd.DataFrame, Axes], None], n_columns: int = 3) -> Figure:
    """A figure with a forest for each value in the column ``by``, drawn by ``draw`` from its rows, and high enough.

    Args:
        table: What to draw; empty for a figure that says so.
        by: A column of ``table``.
        draw: Draws the rows of one panel, such as ``plot_gap_forest``.
        n_columns: Panels in a row.
    """
    panels = list(table.groupby(by, sort=False))
    if not panels:
        return figures.nothing_to_show("no gap was measured")
    n_columns = min(n_columns, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (_, rows) in zip(axes.flat, panels, strict=False):
        draw(rows, ax)
        ax.locator_params(axis="x", nbins=3)
        ax.tick_params(axis="x", labelsize="x-small")
    named = max(len(ax.get_yticks()) for ax in axes.flat[: len(panels)])
    figure.set_size_inches(9, n_rows * (ROW * named + _AROUND))
    return figure


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
    rows = in_order(over_seeds(table, by=CONDITION))
    colours = init_colours(sorted(rows["init_label"].unique()))
    names = [f"{label}, {level}" for label, level in zip(rows["init_label"], level_names(rows), strict=True)]
    for position, row in enumerate(rows.to_dict("records")):
        draw_row(ax, position, row, colours[row["init_label"]], KIND_MARKERS[row["kind"]])
        if not math.isnan(row["noise_floor"]):
            ax.plot([row["noise_floor"]] * 2, [position - 0.38, position + 0.38], color=GREY, linewidth=1.6)
    name_rows(ax, names)
    column = rows["group_column"].iloc[0].replace("_", " ")
    gap = fill(metric_name(rows["metric"].iloc[0]), width=20)
    ax.set_xlabel(f"{gap},\n{rows['group_value'].iloc[0]} by {column}")


def plot_contrast_forest(contrasts: pd.DataFrame, ax: Axes) -> None:
    """Draw differences of gaps on ``ax``, a row an initialisation and target epsilon.

    The thick bar is the 95% interval over other patients, the thin one over other patients and other seeds.

    Args:
        contrasts: ``gap_movements`` or ``changed_by_initialisation`` of one gap.
        ax: Where to draw.
    """
    colours = init_colours(sorted(contrasts["init_label"].unique()))
    names = []
    for position, row in enumerate(contrasts.sort_values(["init_label", "target_epsilon"]).to_dict("records")):
        names.append(f"{row['init_label']}, {level_name(row['target_epsilon'])}")
        colour = colours[row["init_label"]]
        if not math.isnan(row["low_with_seeds"]):
            ax.plot([row["low_with_seeds"], row["high_with_seeds"]], [position] * 2, color=colour, linewidth=1)
        draw_row(ax, position, row, colour, "o", linewidth=3.2)
    name_rows(ax, names)
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
    levels = list(dict.fromkeys(level_names(rows)))
    for level, row in zip(level_names(rows), rows.to_dict("records"), strict=True):
        place = levels.index(level)
        position = columns.index(row["group_column"]) + (place - (len(levels) - 1) / 2) * 0.24
        draw_row(ax, position, row, SERIES[place % len(SERIES)], KIND_MARKERS[row["kind"]], label=level)
    name_rows(ax, [column.replace("_", " ") for column in columns])
    ax.set_xlabel(f"{metric_name(rows['metric'].iloc[0])}, {rows['group_value'].iloc[0]}")
    legend_below(ax)


def plot_age_windows(table: pd.DataFrame, ax: Axes) -> None:
    """Draw AUROC in a sliding window of age on ``ax``: a line a level of privacy, the band its seeds' 95% intervals.

    Args:
        table: ``metrics_with_runs`` of ``auroc_by_age_window``, of one initialisation and finding.
        ax: Where to draw.
    """
    rows = over_seeds(table, by=CONDITION)
    if rows["value"].isna().all():
        figures.write_nothing_to_show("no window holds enough patients", ax)
        return
    windows = list(dict.fromkeys(rows["group_value"]))
    for place, (name, line) in enumerate(rows.groupby(level_names(rows), sort=False)):
        at = [windows.index(window) for window in line["group_value"]]
        colour = SERIES[place % len(SERIES)]
        ax.fill_between(at, line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(
            at, line["value"], color=colour, linestyle=_LINES[place % len(_LINES)], marker="o", markersize=4, label=name
        )
    every = -(-len(windows) // _MOST_WINDOWS_NAMED)
    ax.set_xticks(range(0, len(windows), every), windows[::every], rotation=60)
    ax.set_xlabel("age in years")
    ax.set_ylabel(f"{table['finding'].iloc[0].replace('_', ' ')} AUROC")
    ax.legend()


def plot_curves(roc: pd.DataFrame, calibration: pd.DataFrame, axes: Sequence[Axes]) -> None:
    """Draw ROC curves on the first of ``axes`` and calibration curves on the second, a line a group.

    Args:
        roc: ``group fpr tpr`` of ``group_curves.roc_by_group``.
        calibration: ``group mean_score share_positive`` of ``group_curves.calibration_by_group``.
        axes: Two.
    """
    looks = list(zip(SERIES, ("-", "--", "-.", ":", "-", "--"), strict=True))
    groups = list(dict.fromkeys([*roc["group"], *calibration["group"]]))
    for place, group in enumerate(groups):
        colour, line = looks[place % len(looks)]
        for ax, table in zip(axes, (roc, calibration), strict=True):
            x, y = (table.loc[table["group"] == group, name] for name in table.columns[1:])
            ax.plot(x, y, color=colour, linestyle=line, marker=MARKERS[place % len(MARKERS)], markersize=4, label=group)
    names = (("FPR", "TPR"), ("mean score", "share of positives"))
    lacking = ("groups too small", "groups too small,\nor prevalences withheld")
    for ax, table, (x_name, y_name), why in zip(axes, (roc, calibration), names, lacking, strict=True):
        if table.empty:
            figures.write_nothing_to_show(why, ax)
            continue
        ax.axline((0, 0), slope=1, color="black", linewidth=1)
        ax.set(xlabel=x_name, ylabel=y_name)
        ax.legend()
