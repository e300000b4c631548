"""Figures that draw tables: none computes a number, none decides what is shown."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.seeds import over_seeds
from dpcxr_core.publishing.palette import init_colours
from dpcxr_core.publishing.results import CONDITION, epsilon_label, metric_name

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_PUBLIC_ONLY = "public data only"


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
    _one_metric(table, "auroc")
    trained = table[table["kind"] != "public_only"]
    epsilons = sorted(trained["target_epsilon"].unique(), key=lambda e: (math.isnan(e), e))
    labels = list(dict.fromkeys(trained["init_label"]))
    offsets = (np.arange(len(labels)) - (len(labels) - 1) / 2) * 0.09  # keeps bars of equal epsilon apart
    means = over_seeds(trained, by=CONDITION)
    for label, colour, offset, marker in zip(
        labels, init_colours(labels).values(), offsets, _cycled(_MARKERS, len(labels)), strict=True
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
            yerr=_bars(line),
            color=colour,
            marker=marker,
            linewidth=1.8,
            capsize=3,
            label=label,
        )
    for value in over_seeds(table[table["kind"] == "public_only"], by=CONDITION)["value"]:
        ax.axhline(value, color="black", linestyle="--", linewidth=1.3, label=_PUBLIC_ONLY)
    ax.set_xticks(range(len(epsilons)), [epsilon_label(epsilon) for epsilon in epsilons])
    ax.set_xlabel("epsilon of at most")
    ax.set_ylabel(f"{table['finding'].iloc[0]} AUROC")
    _legend_below(ax)


def plot_gap_forest(table: pd.DataFrame, ax: Axes) -> None:
    """Draw one gap of every run on ``ax``: a row a condition, a point a value, a bar its 95% interval.

    Args:
        table: ``metrics_with_runs`` of one test set and finding, one gap metric, one group column.
        ax: Where to draw.

    Raises:
        UserError: The table is empty, or holds more than one metric, test set, finding or group.
    """
    _one_metric(table, table["metric"].iloc[0] if len(table) else "")
    rows = over_seeds(table, by=CONDITION)
    rows = rows.sort_values(["init_label", "kind", "target_epsilon"], ascending=[True, False, True])
    colours = init_colours(sorted(rows["init_label"].unique()))
    names = []
    for position, row in enumerate(rows.to_dict("records")):
        names.append(_condition_name(row))
        if math.isnan(row["value"]):
            ax.text(0, position, " not shown", va="center", fontsize=9)
        else:
            bars = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
            colour = colours[row["init_label"]]
            ax.errorbar(row["value"], position, xerr=bars, color=colour, marker="o", capsize=3)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    gap = metric_name(rows["metric"].iloc[0])
    column = rows["group_column"].iloc[0].replace("_", " ")
    ax.set_xlabel(f"{gap} ({rows['group_value'].iloc[0]}) by {column}")


def plot_transfer_heatmap(table: pd.DataFrame, ax: Axes) -> None:
    """Draw AUROC on ``ax``: a row a training set, a column a test set.

    Args:
        table: ``metrics_with_runs`` of one initialisation, level of privacy, finding and group, metric
            "auroc"; any training and test sets.
        ax: Where to draw.

    Raises:
        UserError: The table is empty, or holds more than one of what must be one.
    """
    _one_metric(table, "auroc", constant=("finding", "group_column", "group_value", "init_label", "target_epsilon"))
    means = over_seeds(table, by=CONDITION)
    grid = means.pivot_table(index="train_dataset", columns="dataset", values="value", sort=False)
    bar = {"label": f"{table['finding'].iloc[0]} AUROC"}
    sns.heatmap(grid, ax=ax, annot=True, fmt=".3f", cmap="cividis", cbar_kws=bar, linewidths=0.5)
    ax.set_xlabel("tested on")
    ax.set_ylabel("trained on")
    ax.tick_params(axis="y", rotation=0)


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
    ax.plot(ledger["step"], ledger["loss"], color="#0072b2", linewidth=0.7, alpha=0.5, label="one step")
    if width > 1:
        running = ledger["loss"].rolling(width, min_periods=1).mean()
        ax.plot(ledger["step"], running, color="#0072b2", linewidth=2, label=f"mean of {width} steps")
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
    for (name, rows), marker in zip(table.groupby("accountant"), _cycled(_MARKERS, len(table)), strict=False):
        rows = rows.sort_values("noise_multiplier")
        ax.plot(rows["noise_multiplier"], rows["epsilon"], marker=marker, markersize=5, label=name)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("noise multiplier")
    ax.set_ylabel("epsilon")
    ax.legend(title="accountant")


def _one_metric(
    table: pd.DataFrame,
    metric: str,
    constant: tuple[str, ...] = ("dataset", "finding", "group_column", "group_value"),
) -> None:
    if table.empty:
        raise UserError("there is nothing to draw: the table is empty.")
    found = {column: sorted(table[column].unique()) for column in ("metric", *constant)}
    mixed = {column: values for column, values in found.items() if len(values) > 1}
    if mixed or found["metric"] != [metric]:
        wanted = ", one ".join(constant)
        raise UserError(f"this figure draws {metric or 'a metric'} of one {wanted}; got {mixed or found}.")


def _condition_name(row: dict[Hashable, Any]) -> str:
    if row["kind"] == "public_only":
        return f"{row['init_label']}, {_PUBLIC_ONLY}"
    label = epsilon_label(row["target_epsilon"])
    return f"{row['init_label']}, {label if row['kind'] == 'non_private' else f'epsilon {label}'}"


def _positions(rows: pd.DataFrame, epsilons: Sequence[float]) -> NDArray[np.float64]:
    """Place of each row's epsilon on the axis; a NaN, which equals nothing, is told by its label."""
    places = {epsilon_label(epsilon): place for place, epsilon in enumerate(epsilons)}
    return np.array([places[epsilon_label(epsilon)] for epsilon in rows["target_epsilon"]], dtype=float)


def _bars(rows: pd.DataFrame) -> NDArray[np.float64]:
    low, value, high = rows[["low", "value", "high"]].to_numpy(dtype=float).T
    return np.stack([value - low, high - value])


def _cycled(items: Sequence[str], n: int) -> list[str]:
    return [items[index % len(items)] for index in range(n)]


def _legend_below(ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    ax.legend(once.values(), once.keys(), loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
