"""Figures of what training steps cost, drawn from ``speed_tables``."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters.speed_tables import STOCK, short_name
from dpcxr_core.publishing.palette import init_colours

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_TICKS = (0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30)
_SUBS = (1, 2, 5)  # ticks of a decade
_WITHIN_ROW = 0.7  # of a method's row that its settings are spread over
_QUANTITIES = {
    "time": ("ratio", "time of a step, best without privacy = 1"),
    "memory": ("memory_ratio", "memory above model and images, ordinary step = 1"),
}


def plot_ratios(costs: pd.DataFrame, ax: Axes, quantity: Literal["time", "memory"] = "time") -> None:
    """Draw what each method costs relative to training without privacy on ``ax``, on a log axis.

    A row is a method, a colour and marker a setting, a bar the range over rounds (time only). Open points are of a
    method whose gradients are wrong there. A method that failed has no point.

    Args:
        costs: ``step_costs``.
        ax: Where to draw.
        quantity: "time", to the best method without privacy, or "memory", to the ordinary step.

    Raises:
        UserError: Nothing was measured of this quantity.
    """
    column, label = _QUANTITIES[quantity]
    found = costs.dropna(subset=[column])
    if found.empty:
        raise UserError(f"there is no {column} to draw; has make bench finished?")
    methods = list(dict.fromkeys(costs["method"]))
    settings = list(dict.fromkeys(found["setting"]))
    offsets = (np.arange(len(settings)) - (len(settings) - 1) / 2) * _WITHIN_ROW / len(settings)
    for (setting, colour), offset, marker in zip(init_colours(settings).items(), offsets, _MARKERS, strict=False):
        rows = found[found["setting"] == setting]
        at = np.array([methods.index(method) for method in rows["method"]]) + offset
        if quantity == "time":
            ax.hlines(at, rows["ratio_low"], rows["ratio_high"], color=colour, linewidth=1.5)
        filled = rows["correct"].to_numpy(dtype=bool)
        for chosen, face in ((filled, colour), (~filled, "white")):
            ax.scatter(
                rows[column][chosen], at[chosen], s=34, marker=marker, facecolor=face, edgecolor=colour, zorder=3
            )
        ax.scatter([], [], marker=marker, color=colour, label=setting)
    ax.axvline(1, color="black", linewidth=1)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(_TICKS))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_yticks(range(len(methods)), [short_name(method) for method in methods])
    ax.set_ylim(len(methods) - 0.5, -0.5)
    for boundary in range(1, len(methods)):
        ax.axhline(boundary - 0.5, color="#dddddd", linewidth=0.6)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(label)
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.11), ncols=2)


def plot_growth(points: pd.DataFrame, ax: Axes, quantity: Literal["time", "memory"]) -> None:
    """Draw how a step grows on ``ax``, both axes logarithmic, a line a method.

    Args:
        points: ``growth_points`` of one sweep, "batch" or "network".
        ax: Where to draw.
        quantity: "time" in seconds with the range over rounds, or "memory" in megabytes.

    Raises:
        UserError: ``points`` is empty or holds both sweeps.
    """
    sweeps = sorted(set(points["sweep"]))
    if len(sweeps) != 1:
        raise UserError(f"this figure draws one sweep; the table holds {sweeps}")
    along, label = {"batch": ("batch", "images a step"), "network": ("n_parameters", "parameters")}[sweeps[0]]
    methods = list(dict.fromkeys(points["method"]))
    for (method, colour), marker in zip(_method_colours(methods).items(), _MARKERS, strict=False):
        line = points[points["method"] == method].sort_values(along)
        if quantity == "time":
            ax.fill_between(line[along], line["least"], line["most"], color=colour, alpha=0.2, linewidth=0)
        values = line["seconds"] if quantity == "time" else line["peak_bytes"] / 1e6
        ax.plot(line[along], values, color=colour, marker=marker, markersize=5, label=method)
    ax.set_xscale("log")
    ax.set_yscale("log")
    if sweeps[0] == "batch":
        ax.xaxis.set_major_locator(FixedLocator(sorted(set(points[along]))))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        ax.xaxis.set_major_locator(LogLocator(subs=_SUBS))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g} M"))
    ax.yaxis.set_major_locator(LogLocator(subs=_SUBS))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
    ax.set_xlabel(label)
    ax.set_ylabel("seconds" if quantity == "time" else "MB above model and images")


def _method_colours(methods: list[str]) -> dict[str, str]:
    """Grey for the ordinary step, as it comes, and a colour for each other method."""
    others = [method for method in methods if method != STOCK]
    colours = init_colours([*others, "random"])  # keeps the grey of the palette out of the others
    return {method: colours["random"] if method == STOCK else colours[method] for method in methods}
