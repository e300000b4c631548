"""Figures that draw tables: none computes a number, none decides what is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.seeds import over_seeds
from dpcxr_core.publishing.forest import MARKERS, bars, legend_below
from dpcxr_core.publishing.palette import SERIES, init_colours
from dpcxr_core.publishing.results import CONDITION, epsilon_label, epsilons_of, level_name


def use_house_style() -> None:
    """Set the look of all figures, readable at the width of the book's text column; tables show whole sentences."""
    pd.set_option("display.max_colwidth", None)
    sns.set_theme(
        context="notebook",
        style="ticks",
        rc={
            "figure.figsize": (7.2, 4.2),
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "savefig.dpi": 160,
            "font.size": 11,
            "axes.labelsize": 11,
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#dddddd",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "legend.fontsize": 10,
        },
    )


def plot_auroc_over_epsilon(table: pd.DataFrame, ax: Axes) -> None:
    """Draw AUROC at each epsilon, a line an initialisation, on ``ax``.

    A point is the mean over seeds, its bar spans the seeds' 95% intervals, the small open points are the
    seeds. The dashed line is the model that saw public data only.

    Args:
        table: ``metrics_with_runs`` of one test set, one finding and one group, metric "auroc".
        ax: Where to draw.

    Raises:
        UserError: The table is empty, or holds more than one metric, test set, finding or group.
    """
    check_one_metric(table)
    trained = table[table["kind"] != "public_only"]
    epsilons = epsilons_of(trained)
    labels = list(dict.fromkeys(trained["init_label"]))
    offsets = (np.arange(len(labels)) - (len(labels) - 1) / 2) * 0.09  # keeps bars of equal epsilon apart
    means = over_seeds(trained, by=CONDITION)
    for label, colour, offset, marker in zip(
        labels, init_colours(labels).values(), offsets, _cycled(MARKERS, len(labels)), strict=True
    ):
        seeds = trained[trained["init_label"] == label]
        ax.plot(
            _positions(seeds, epsilons) + offset,
            seeds["value"],
            linestyle="none",
            marker="o",
            markersize=4,
            markerfacecolor="none",
            markeredgecolor=colour,
            alpha=0.7,
        )
        line = means[means["init_label"] == label]
        line = line.assign(at=_positions(line, epsilons)).sort_values("at")
        ax.errorbar(
            line["at"] + offset,
            line["value"],
            yerr=bars(line),
            color=colour,
            marker=marker,
            linewidth=1.8,
            capsize=3,
            label=label,
        )
    for value in over_seeds(table[table["kind"] == "public_only"], by=CONDITION)["value"]:
        ax.axhline(value, color="black", linestyle="--", linewidth=1.3, label=level_name(math.nan, "public_only"))
    ax.set_xticks(range(len(epsilons)), [epsilon_label(epsilon) for epsilon in epsilons])
    ax.set_xlabel("epsilon of at most")
    ax.set_ylabel(f"{table['finding'].iloc[0]} AUROC")
    legend_below(ax)


def plot_gallery(images: NDArray[np.uint8], titles: Sequence[str], ncols: int = 4) -> Figure:
    """A figure of ``images`` in rows of ``ncols``, each under its title.

    Args:
        images: ``(n, height, width)``, 0 black to 255 white. Never restricted images.
        titles: n texts.
        ncols: Images a row.

    Raises:
        UserError: There is no image, or the number of titles differs.
    """
    if len(images) == 0 or len(images) != len(titles):
        raise UserError(f"a gallery needs images and a title for each; got {len(images)} images, {len(titles)} titles.")
    nrows = math.ceil(len(images) / ncols)
    figure, axes = plt.subplots(nrows, ncols, figsize=(7.2, 7.2 / ncols * nrows + 0.3 * nrows), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.set_title(title, fontsize=10)
    return figure


def plot_loss(ledger: pd.DataFrame, ax: Axes) -> None:
    """Draw the column ``loss`` of a training's ledger or diagnostics against ``step`` on ``ax``.

    The thin line is each step, the thick one the running mean of a twentieth of the steps, where that is two or more.

    Raises:
        UserError: A column is missing.
    """
    missing = {"step", "loss"} - set(ledger.columns)
    if missing:
        raise UserError(f"the table lacks {sorted(missing)}; it has {list(ledger.columns)}.")
    width = len(ledger) // 20
    ax.plot(ledger["step"], ledger["loss"], color=SERIES[0], linewidth=0.7, alpha=0.5, label="one step")
    if width > 1:
        running = ledger["loss"].rolling(width, min_periods=1).mean()
        ax.plot(ledger["step"], running, color=SERIES[0], linewidth=2, label=f"mean of {width} steps")
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    ax.legend()


def plot_epsilon_vs_noise(table: pd.DataFrame, ax: Axes) -> None:
    """Draw epsilon against the noise multiplier on ``ax``, both on log axes, a line an accountant.

    Args:
        table: Columns ``noise_multiplier``, ``epsilon`` and ``accountant``.
        ax: Where to draw.

    Raises:
        UserError: A column is missing.
    """
    missing = {"noise_multiplier", "epsilon", "accountant"} - set(table.columns)
    if missing:
        raise UserError(f"the table lacks {sorted(missing)}; it has {list(table.columns)}.")
    for (name, rows), marker in zip(table.groupby("accountant"), _cycled(MARKERS, len(table)), strict=False):
        rows = rows.sort_values("noise_multiplier")
        ax.plot(rows["noise_multiplier"], rows["epsilon"], marker=marker, markersize=5, label=name)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("noise multiplier")
    ax.set_ylabel("epsilon")
    ax.legend(title="accountant")


def nothing_to_show(words: str) -> Figure:
    """A figure that holds no more than ``words``: why there is nothing to show."""
    figure, ax = plt.subplots()
    write_nothing_to_show(words, ax)
    return figure


def write_nothing_to_show(words: str, ax: Axes) -> None:
    """Write on ``ax``, in place of all else, that there is nothing to show, and ``words``: why.

    A figure of nothing else is made as low as the words need.
    """
    ax.set_axis_off()
    figure = ax.get_figure(root=True)
    if figure is not None and figure.axes == [ax]:
        figure.set_size_inches(7.2, 1)
    ax.text(0.5, 0.5, f"nothing to show: {words}", ha="center", va="center", transform=ax.transAxes)


def check_one_metric(table: pd.DataFrame) -> None:
    """Refuse, with ``UserError``, a table that is empty or mixes metrics, test sets, findings or groups."""
    if table.empty:
        raise UserError("there is nothing to draw: the table is empty.")
    one_each = ("metric", "dataset", "finding", "group_column", "group_value")
    mixed = {column: values for column in one_each if len(values := sorted(table[column].unique())) > 1}
    if mixed:
        raise UserError(f"this figure draws one metric of one test set, finding and group; got {mixed}.")


def _positions(rows: pd.DataFrame, epsilons: Sequence[float]) -> NDArray[np.float64]:
    """Place of each row's epsilon on the axis; a NaN, which equals nothing, is told by its label."""
    places = {epsilon_label(epsilon): place for place, epsilon in enumerate(epsilons)}
    return np.array([places[epsilon_label(epsilon)] for epsilon in rows["target_epsilon"]], dtype=float)


def _cycled(items: Sequence[str], n: int) -> list[str]:
    return [items[index % len(items)] for index in range(n)]
