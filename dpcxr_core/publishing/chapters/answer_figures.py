"""Figures of what the cells of a study say: forests of contrasts, and AUROC along one axis of the grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from textwrap import shorten
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters.answer_tables import names_of
from dpcxr_core.publishing.forest import MARKERS, ROW, bars, draw_row, name_rows
from dpcxr_core.publishing.palette import GREY, SERIES
from dpcxr_core.publishing.tables import with_seeds_where_known
from dpcxr_core.study.macro_aurocs import CONDITION
from dpcxr_core.study.verdicts import AGAINST, IN_FAVOUR, MISSING, OPEN, UNMEASURABLE

NOT_RUN = "these cells have not run"
VERDICT_COLOURS = {IN_FAVOUR: SERIES[2], AGAINST: SERIES[1], OPEN: GREY, MISSING: GREY, UNMEASURABLE: GREY}
_AROUND = 0.95  # inches above and below the rows of a forest


def plot_contrasts(rows: pd.DataFrame, colours: Mapping[str, str], colour_by: str, what: str) -> Figure:
    """A forest, a panel below the other: a point the mean over seeds, the thick bar its 95% interval over patients.

    The thin bar is over other patients and other seeds. A hollow point was not tested, for want of a second seed. Where
    there is no value, the reason stands in its place.

    Args:
        rows: ``panel``, ``heading`` (empty for none) and ``name`` of each contrast, and the columns of
            ``paired.table_over_seeds``, and ``p_adjusted``.
        colours: By value of the column ``colour_by``.
        colour_by: A column of ``rows``.
        what: The value, for the axis.
    """
    panels = list(rows.groupby("panel", sort=False))
    if not panels:
        return figures.nothing_to_show(NOT_RUN)
    n_rows = [len(panel) + panel.loc[panel["heading"] != "", "heading"].nunique() for _, panel in panels]
    size = (7.2, sum(ROW * each + _AROUND for each in n_rows))
    figure, axes = plt.subplots(len(panels), 1, figsize=size, height_ratios=n_rows, squeeze=False)
    for ax, (title, panel) in zip(axes.flat, panels, strict=True):
        names: list[str] = []
        for heading, group in panel.groupby("heading", sort=False):
            if heading:  # above its rows, where it takes no width from them
                _write(ax, len(names), str(heading))
                names.append("")
            for row in group.to_dict("records"):
                _draw_contrast(ax, len(names), row, colours[row[colour_by]])
                names.append(row["name"] + (", not tested" if _is_untested(row) else ""))
        name_rows(ax, names)
        ax.tick_params(axis="y", length=0)
        ax.locator_params(axis="x", nbins=6)
        ax.set_title(str(title), fontsize=11)
        ax.set_xlabel(what)
    return figure


def _draw_contrast(ax: Axes, position: float, row: Mapping[Any, Any], colour: str) -> None:
    if math.isnan(row["value"]):
        lacking = UNMEASURABLE if row.get("verdict") == UNMEASURABLE else MISSING
        _write(ax, position, shorten(f"{lacking}: {row['reason']}", 65, placeholder=" ..."))
        return
    if not math.isnan(row["low_with_seeds"]):
        ax.plot([row["low_with_seeds"], row["high_with_seeds"]], [position] * 2, color=colour, linewidth=1)
    draw_row(ax, position, row, colour, "s" if _is_untested(row) else "o", linewidth=3.2)


def _is_untested(row: Mapping[Any, Any]) -> bool:
    return not math.isnan(row["value"]) and math.isnan(row["p_adjusted"])


def _write(ax: Axes, position: float, words: str) -> None:
    """Words in a row of a forest, that no layout makes room for."""
    where, looks = ax.get_yaxis_transform(), {"facecolor": "white", "edgecolor": "none", "pad": 1}
    ax.text(0.01, position, words, transform=where, va="center", fontsize=10, bbox=looks, in_layout=False)


def plot_along(
    aurocs: pd.DataFrame, along: str, series: str, colours: Mapping[str, str], given: pd.DataFrame | None = None
) -> Figure:
    """Macro AUROC along one axis of the grid, a line a value of ``series``, a panel for all that else differs.

    Bars are 95% intervals over test patients and, with several seeds, other seeds. A line needs two points.

    Args:
        aurocs: From ``macro_aurocs``.
        along: The axis: "fraction", "architecture" or "target_epsilon".
        series: Another column of ``CONDITION``.
        colours: By value of ``series``.
        given: Public-only models, from ``macro_aurocs``: dashed, in the panels of their data set, network and
            initialisation.
    """
    others = [name for name in CONDITION if name not in (along, series)]
    several = aurocs.groupby([*others, series], dropna=False)[along].transform("nunique") > 1
    rows = with_seeds_where_known(aurocs[several])
    if rows.empty:
        return figures.nothing_to_show(NOT_RUN)
    panels = [panel for _, panel in rows.assign(panel=names_of(rows, others)).groupby("panel", sort=False)]
    n_columns = min(3, len(panels))
    shape = -(-len(panels) // n_columns), n_columns
    size = (7.2 if n_columns < 3 else 9, 3.6 * shape[0])
    figure, axes = plt.subplots(*shape, figsize=size, sharey=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, panel in zip(axes.flat, panels, strict=False):
        _draw_lines(ax, panel, along, series, colours)
        _draw_given(ax, panel, given)
        ax.set_title(panel["panel"].iloc[0], fontsize=10.5)
    axes[0, 0].set_ylabel("macro AUROC")
    drawn = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes.flat]
    handles = {label: handle for panel in drawn for handle, label in panel}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def _draw_lines(ax: Axes, panel: pd.DataFrame, along: str, series: str, colours: Mapping[str, str]) -> None:
    values = list(dict.fromkeys(panel[along] if along == "architecture" else sorted(panel[along])))
    # a doubling of the patients is as wide everywhere
    places = [math.log2(value / values[0]) if along == "fraction" else place for place, value in enumerate(values)]
    lines = list(panel.groupby(series, sort=False))
    for place, (value, line) in enumerate(lines):
        line = line.assign(at=line[along].map(dict(zip(values, places, strict=True)))).sort_values("at")
        offset = (place - (len(lines) - 1) / 2) * 0.06  # keeps bars apart
        label, marker = names_of(line, [series])[0], MARKERS[place % len(MARKERS)]
        ax.errorbar(
            line["at"] + offset,
            line["value"],
            yerr=bars(line),
            color=colours[str(value)],
            marker=marker,
            linewidth=1.8,
            capsize=3,
            label=label,
        )
    ticks = names_of(pd.DataFrame({along: values}), [along])
    ax.set_xticks(places, [tick.removesuffix(" of the patients") for tick in ticks])
    ax.set_xlim(-0.3, places[-1] + 0.3)
    if along == "fraction":
        ax.set_xlabel("share of the training patients")


def _draw_given(ax: Axes, panel: pd.DataFrame, given: pd.DataFrame | None) -> None:
    if given is None:
        return
    same = ["dataset", "architecture", "initialisation"]
    for value in given.merge(panel[same].drop_duplicates(), on=same)["value"]:
        ax.axhline(value, color="black", linestyle="--", linewidth=1.3, label="public data only")
