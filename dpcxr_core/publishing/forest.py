"""What forests share, and other figures of values with intervals: order, points with bars, names of rows, legends."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

ROW = 0.27  # inches that a row and its name need
# one a line or series
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# told apart without colour: filled with privacy, hollow without, a diamond for what saw public data only
KIND_MARKERS = {"private": "o", "non_private": "s", "public_only": "D"}


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` by initialisation: private ones by rising epsilon last, those without privacy before them."""
    return rows.sort_values(["init_label", "kind", "target_epsilon"], ascending=[True, False, True])


def bars(rows: pd.DataFrame) -> NDArray[np.float64]:
    """``(2, n)`` lengths of the error bars below and above ``value``, from ``low`` and ``high``."""
    low, value, high = rows[["low", "value", "high"]].to_numpy(dtype=float).T
    return np.stack([value - low, high - value])


def draw_row(ax: Axes, position: float, row: Mapping[Hashable, Any], colour: str, marker: str, **looks: Any) -> None:
    """Draw a point and its interval at ``position`` on ``ax``; words in their place where there is no value.

    Args:
        ax: Where to draw.
        position: Of the row.
        row: With ``value low high``.
        colour: Of point and bar.
        marker: One of matplotlib's; that of runs without privacy is hollow.
        looks: More of what ``Axes.errorbar`` takes.
    """
    if math.isnan(row["value"]):
        ax.text(0, position, " not shown", va="center", fontsize=9)
        return
    ends = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
    inside = "white" if marker == KIND_MARKERS["non_private"] else colour
    ax.errorbar(row["value"], position, xerr=ends, color=colour, marker=marker, markerfacecolor=inside, **looks)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Write names at the rows of ``ax``, the first on top, and draw a line at no difference."""
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)


def legend_below(ax: Axes) -> None:
    """Put a legend below ``ax`` that names each label once."""
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    ax.legend(once.values(), once.keys(), loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
