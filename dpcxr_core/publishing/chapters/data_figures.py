"""Figures of what is in the data sets: ages, prevalence by group, images a patient. None computes a number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.evaluation.describing.prevalence import NOT_RECORDED
from dpcxr_core.evaluation.groups import age_band
from dpcxr_core.publishing.disclosing.small_cells import hidden_cells, hidden_with_others
from dpcxr_core.publishing.palette import GREY, SERIES

# colour, line, height of a cross as a share of the panel's
_SEX_LOOKS = {"F": (SERIES[1], "-", 0.04), "M": (SERIES[0], "--", 0.1), NOT_RECORDED: (GREY, ":", 0.16)}
_SEX_NAMES = {"F": "women", "M": "men", NOT_RECORDED: "sex not recorded"}
_PER_ROW = 3
_Table = TypeVar("_Table")


def plot_ages(ages: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel a data set: its images by age in steps, one line a sex. A cross is a step that is not shown.

    Those are the steps of fewer than ten patients, and those that would tell of them by subtraction.

    Args:
        ages: By name, ``ages_by_sex`` of each data set.

    Raises:
        UserError: There is no data set.
    """
    figure, panels = _panels(ages, "age in years", "images")
    for ax, table in panels:
        if table.empty:
            _say(ax, "no age is recorded")
            continue
        hidden = _hidden_steps(table)
        for sex, rows in table.reset_index(drop=True).groupby("sex"):
            starts = rows["age_from"].to_numpy()
            edges = np.append(starts, 2 * starts[-1] - starts[-2])
            few = hidden[rows.index]
            colour, style, height = _SEX_LOOKS[str(sex)]
            ax.stairs(rows["images"].mask(few), edges, color=colour, linestyle=style, linewidth=1.8)
            _cross(ax, (edges[:-1] + edges[1:])[few] / 2, height, colour)
        ax.set_xlim(0, edges[1:][table.groupby("age_from")["images"].sum() > 0].max())
    for sex, (colour, style, _) in _SEX_LOOKS.items():
        figure.axes[0].plot([], [], color=colour, linestyle=style, label=_SEX_NAMES[sex])
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def plot_images_per_patient(numbers: Mapping[str, pd.DataFrame | None]) -> Figure:
    """A panel a data set: the share of patients with so many images. A cross is a bar that is not shown.

    Those are the bars of fewer than ten patients, and those that would tell of them by subtraction.

    Args:
        numbers: By name, ``patients_by_number`` of each data set; None where patients are not known.

    Raises:
        UserError: There is no data set.
    """
    figure, panels = _panels(numbers, "images of the patient", "share of patients")
    for ax, table in panels:
        if table is None:
            _say(ax, "no patient identifiers")
            continue
        shares = table["patients"] / table["patients"].sum()
        few = hidden_cells(table["patients"])
        ax.bar(range(len(table)), shares.mask(few), color=SERIES[0])
        _cross(ax, np.flatnonzero(few), 0.04, SERIES[0])
        ax.yaxis.set_major_formatter("{x:.0%}")
        ax.set_xticks(range(len(table)), ["20+" if "more" in name else name for name in table.index], fontsize=9)
    return figure


def plot_prevalence(rows: pd.DataFrame) -> Figure:
    """A panel a finding: prevalence of each group with its interval; the line is that of all images.

    Args:
        rows: Columns ``finding group_column group_value value low high``, as from ``data_tables.groups_to_show``; the
            groups of every finding in the same order, "all" first.

    Raises:
        UserError: A column is missing, or there is no row.
    """
    missing = {"finding", "group_column", "group_value", "value", "low", "high"} - set(rows.columns)
    if missing or rows.empty:
        raise UserError(f"the table lacks {sorted(missing) or 'rows'}; it has {list(rows.columns)}")
    figure, axes = plt.subplots(1, len(FINDINGS), figsize=(10, 3.6), sharey=True)
    for ax, finding in zip(axes, FINDINGS, strict=True):
        part = rows[rows["finding"] == finding].reset_index(drop=True)
        known = part[part["value"].notna()]
        bars = np.stack([known["value"] - known["low"], known["high"] - known["value"]])
        ax.errorbar(known["value"], known.index, xerr=bars, color=SERIES[0], linestyle="none", marker="o", capsize=3)
        for place in part.index[part["value"].isna()]:
            ax.text(0.03, place, "not shown", va="center", fontsize=8, transform=ax.get_yaxis_transform())
        if not math.isnan(part["value"].iloc[0]):
            ax.axvline(part["value"].iloc[0], color="black", linewidth=1, linestyle=":")
        ax.set_title(finding.replace("_", " "))
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.tick_params(axis="x", labelsize=9)
    names = [_group_name(column, value) for column, value in part[["group_column", "group_value"]].to_numpy()]
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("prevalence", fontsize=11)
    return figure


def _hidden_steps(table: pd.DataFrame) -> np.ndarray:
    """Which rows of ``ages_by_sex`` are not drawn, when the images of each sex and each age band are known."""
    patients = table["patients"].to_numpy()
    parted_by = (table["sex"], age_band(table["age_from"]), np.zeros(len(table)))
    hidden, before = hidden_cells(patients), -1
    while hidden.sum() > before:
        before = hidden.sum()
        for key in parted_by:
            for part in table.groupby(np.asarray(key)).indices.values():
                hidden[part] = hidden_with_others(hidden[part], patients[part])
    return hidden


def _group_name(column: str, value: str) -> str:
    if column == "all":
        return "all images"
    column = column.replace("_band", "")
    return f"{column} {value}" if column == "age" or value == NOT_RECORDED else value


def _panels(tables: Mapping[str, _Table], xlabel: str, ylabel: str) -> tuple[Figure, Iterator[tuple[Axes, _Table]]]:
    """A figure, and an axes for each of ``tables``, titled; labels at the rim only."""
    if not tables:
        raise UserError("there is nothing to draw: no data set was given.")
    ncols = min(_PER_ROW, len(tables))
    nrows = math.ceil(len(tables) / ncols)
    figure, axes = plt.subplots(nrows, ncols, figsize=(3.2 * ncols, 2.1 * nrows + 0.7), squeeze=False)
    for ax in axes.flat[len(tables) :]:
        ax.remove()
    for place, (ax, name) in enumerate(zip(axes.flat, tables, strict=False)):
        ax.set_title(name)
        if place % ncols == 0:
            ax.set_ylabel(ylabel)
        if place + ncols >= len(tables):
            ax.set_xlabel(xlabel)
    return figure, zip(axes.flat, tables.values(), strict=False)


def _cross(ax: Axes, places: np.ndarray, height: float, colour: str) -> None:
    heights = np.full(len(places), height)
    ax.plot(places, heights, "x", color=colour, markersize=6, transform=ax.get_xaxis_transform())


def _say(ax: Axes, words: str) -> None:
    ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, fontsize=10)
    ax.set_xticks([])
    ax.set_yticks([])
