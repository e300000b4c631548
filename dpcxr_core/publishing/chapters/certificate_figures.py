"""Figures of the noise that the paper's trainings needed, and of what its configuration spends."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from dpcxr_core.config import UserError
from dpcxr_core.publishing.palette import SERIES, init_colours

_RANGES = ((0.0, 1.0), (1.0, 3.0), (3.0, 10.0))  # of epsilon, in which the paper reports


def plot_needed(needed: pd.DataFrame, ax: Axes) -> None:
    """Draw the noise multiplier of every training on ``ax``: a row a data set and unit, a colour a target.

    A filled point is what PLD finds, an open one what RDP asks for.

    Args:
        needed: Rows of one batch size of ``certificate_tables.read_needed``.
        ax: Where to draw.

    Raises:
        UserError: There is nothing to draw, or more than one batch size.
    """
    batches = sorted(needed["expected_batch_size"].unique())
    if len(batches) != 1:
        raise UserError(f"this figure draws one expected batch size; got {batches}")
    names = list(dict.fromkeys(zip(needed["dataset"], needed["privacy_unit"], strict=True)))
    rows = [names.index(name) for name in zip(needed["dataset"], needed["privacy_unit"], strict=True)]
    drawn = needed.assign(row=rows)
    targets = sorted(drawn["target_epsilon"].unique())
    for index, target in enumerate(targets):
        colour = SERIES[index % len(SERIES)]
        of_one = drawn[drawn["target_epsilon"] == target]
        both = of_one[["noise_multiplier", "noise_multiplier_rdp"]].to_numpy().T
        ax.plot(both, [of_one["row"]] * 2, color=colour, linewidth=1)
        ax.plot(both[0], of_one["row"], "o", color=colour, label=f"epsilon {target:g}, PLD")
        ax.plot(both[1], of_one["row"], "o", color=colour, markerfacecolor="white", label=f"epsilon {target:g}, RDP")
    ax.set_yticks(range(len(names)), [f"{dataset}, {unit}" for dataset, unit in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xticks(ticks := [0.5, 1, 2, 5, 10, 20], [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(0.85 * needed["noise_multiplier"].min(), 1.15 * needed["noise_multiplier_rdp"].max())
    ax.set_xlabel(f"noise multiplier, expected batch size {batches[0]}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.16), ncols=3)


def plot_spending(spending: pd.DataFrame, ax: Axes) -> None:
    """Draw epsilon by PLD against epochs on ``ax``, both on log axes, a line a data set; bands are the paper's ranges.

    Args:
        spending: Rows of one batch size and one way to calibrate of ``certificate_tables.read_spending``.
        ax: Where to draw.

    Raises:
        UserError: The rows are of several batch sizes or ways to calibrate, or there are none.
    """
    kinds = spending[["expected_batch_size", "calibrated_by"]].drop_duplicates()
    if len(kinds) != 1:
        raise UserError(f"this figure draws one batch size and one way to calibrate; got {kinds.to_dict('records')}")
    bottom = 0.4
    for shade, (low, high) in zip(("#cfe3f1", "#e3eef6", "#f2f7fb"), _RANGES, strict=True):
        ax.axhspan(max(low, bottom), high, color=shade, zorder=0)
        ax.text(spending["epoch"].max(), max(low, bottom) * 1.06, f"{low:g} to {high:g}", ha="right", va="bottom")
    colours = init_colours(spending["dataset"].unique())
    for dataset, rows in spending.groupby("dataset", sort=False):
        rows = rows.sort_values("epoch")
        ax.plot(rows["epoch"], rows["epsilon_pld"], marker="o", color=colours[str(dataset)], label=dataset)
    ax.set_xscale("log")
    ax.set_yscale("log")
    epochs = sorted(spending["epoch"].unique())
    ax.set_xticks(epochs, [f"{epoch:g}" for epoch in epochs])
    ax.set_yticks(ticks := [0.5, 1, 2, 3, 5, 10], [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(bottom, 12)
    ax.grid(visible=False)
    ax.set_xlabel("epochs")
    ax.set_ylabel("epsilon spent (PLD)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
