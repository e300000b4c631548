"""Figures of named trainings beside each other: AUROC by seed, and gradient norms over steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dpcxr_core.config import UserError
from dpcxr_core.publishing.palette import SERIES


def plot_aurocs(aurocs: pd.DataFrame, ax: Axes) -> None:
    """Draw macro AUROC on ``ax``: a row a training, an open point a seed with its 95 % interval, a line the mean.

    Args:
        aurocs: Columns ``name seed value low high``, NaN for a run that diverged.
        ax: Where to draw.

    Raises:
        UserError: A column is missing, or there is no row.
    """
    _check(aurocs, {"name", "seed", "value", "low", "high"})
    if aurocs.empty:
        raise UserError("there is nothing to draw: the table is empty.")
    names = list(dict.fromkeys(aurocs["name"]))
    for place, name in enumerate(names):
        rows = aurocs[aurocs["name"] == name].dropna(subset=["value"])
        if rows.empty:
            ax.text(0.02, place, "diverged", va="center", transform=ax.get_yaxis_transform())
            continue
        colour = SERIES[place % len(SERIES)]
        heights = place + (np.arange(len(rows)) - (len(rows) - 1) / 2) * 0.22
        bars = np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]])
        ax.errorbar(
            rows["value"],
            heights,
            xerr=bars,
            color=colour,
            linestyle="none",
            marker="o",
            markerfacecolor="white",
            capsize=3,
        )
        ax.plot([rows["value"].mean()] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2.5)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("macro AUROC")


def plot_norms(norms: pd.DataFrame, ax: Axes) -> None:
    """Draw the median gradient norm of each step on ``ax``, in clip norms, a line a training and seed.

    Args:
        norms: Columns ``name seed step norm``; no row where norms are not to be shown.
        ax: Where to draw.

    Raises:
        UserError: A column is missing.
    """
    _check(norms, {"name", "seed", "step", "norm"})
    for number, (name, rows) in enumerate(norms.groupby("name", sort=False)):
        for index, (_, seed) in enumerate(rows.groupby("seed")):
            colour = SERIES[number % len(SERIES)]
            ax.plot(seed["step"], seed["norm"], color=colour, linewidth=1.5, label=name if index == 0 else None)
    ax.axhline(1, color="black", linewidth=1, linestyle=":")
    if norms["norm"].max() > 30:
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    ax.set_xlabel("step")
    ax.set_ylabel("median gradient norm\nover the clip norm")
    if len(norms):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)


def _check(table: pd.DataFrame, columns: set[str]) -> None:
    missing = columns - set(table.columns)
    if missing:
        raise UserError(f"the table lacks {sorted(missing)}; it has {list(table.columns)}.")
