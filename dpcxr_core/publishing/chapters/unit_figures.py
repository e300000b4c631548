"""Figure of what a guarantee for images means for patients with several of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dpcxr_core.config import UserError
from dpcxr_core.publishing.palette import SERIES


def plot_epsilon_by_images(table: pd.DataFrame, ax: Axes) -> None:
    """Draw a patient's epsilon against their number of images on ``ax``, both on log axes; a colour an image epsilon.

    Solid lines are tight, dashed ones the formula of group privacy. A line ends where epsilon passes 100.

    Args:
        table: Columns ``target_epsilon images tight formula``, as from ``unit_tables.epsilon_by_images``.
        ax: Where to draw.

    Raises:
        UserError: A column is missing, or there is no row.
    """
    missing = {"target_epsilon", "images", "tight", "formula"} - set(table.columns)
    if missing or table.empty:
        raise UserError(f"the table lacks {sorted(missing) or 'rows'}; it has {list(table.columns)}")
    for number, (target, rows) in enumerate(table.groupby("target_epsilon")):
        rows, colour = rows.sort_values("images"), SERIES[number % len(SERIES)]
        for column, style, words in (("tight", "-", "tight"), ("formula", "--", "formula")):
            finite = rows[np.isfinite(rows[column])]
            ax.plot(
                finite["images"],
                finite[column],
                linestyle=style,
                marker="o" if column == "tight" else "",
                markersize=5,
                color=colour,
                label=f"image epsilon {target:g}, {words}",
            )
    ax.axhline(100, color="black", linewidth=1, linestyle=":")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    counts = sorted(table["images"].unique())
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.minorticks_off()
    ax.set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    ax.set_xlabel("images of the patient")
    ax.set_ylabel("epsilon of the patient")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
