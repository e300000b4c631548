"""Figures on representations: measures from before training to training without privacy, and probes beside heads."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters.representation_tables import MODEL, measure_name, with_levels
from dpcxr_core.publishing.forest import MARKERS, bars
from dpcxr_core.publishing.palette import init_colours


def plot_measure_over_levels(table: pd.DataFrame, measure: str, ax: Axes) -> None:
    """Draw one measure on ``ax``: a line an initialisation, from before training to training without privacy.

    Args:
        table: As from ``representation_table``.
        measure: One of its measures.
        ax: Where to draw.

    Raises:
        UserError: The table has no such measure.
    """
    rows = with_levels(_of_measure(table, measure))
    colours = init_colours(rows["init_label"])
    for place, (label, colour) in enumerate(colours.items()):
        line = rows[rows["init_label"] == label]
        shift = 0.07 * (place - (len(colours) - 1) / 2)  # keeps the bars of one level apart
        ax.errorbar(
            line["level"].cat.codes + shift,
            line["value"],
            yerr=bars(line),
            color=colour,
            marker=MARKERS[place % len(MARKERS)],
            capsize=3,
            label=label,
        )
    names = list(rows["level"].cat.categories)
    ax.set_xticks(range(len(names)), names)
    ax.set_ylabel(measure_name(measure))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)


def plot_probe_and_head(table: pd.DataFrame, ax: Axes) -> None:
    """Draw the AUROC of the linear probe and of the own head on ``ax``: a row a model.

    Args:
        table: As from ``representation_table``.
        ax: Where to draw.

    Raises:
        UserError: The table has no such measures.
    """
    heads = with_levels(_of_measure(table, "end_to_end_auroc"))
    colours = init_colours(heads["init_label"])
    probes = heads[MODEL].merge(_of_measure(table, "probe_auroc"), on=MODEL, how="left")
    names = [f"{label}, {level}" for label, level in zip(heads["init_label"], heads["level"], strict=True)]
    places = np.arange(len(names))
    for rows, marker, shift, label in ((heads, "o", 0.12, "own head"), (probes, "D", -0.12, "linear probe")):
        for place, row, bar in zip(places, rows.to_dict("records"), bars(rows).T, strict=True):
            ax.errorbar(
                row["value"],
                place + shift,
                xerr=bar[:, np.newaxis],
                color=colours[row["init_label"]],
                marker=marker,
                markerfacecolor="white" if marker == "D" else None,
                capsize=2,
                linewidth=1,
                label=label if place == 0 else None,
            )
    ax.set_yticks(places, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("macro AUROC")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)  # above: below, a low figure has no room


def _of_measure(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    rows = table[table["measure"] == measure].reset_index(drop=True)
    if rows.empty:
        raise UserError(f"the table has no measure {measure!r} to draw; it has {sorted(table['measure'].unique())}")
    return rows
