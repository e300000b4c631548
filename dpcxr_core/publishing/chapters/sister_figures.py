"""Heat maps of train-here, test-there matrices, ours and published ones."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from dpcxr_core.publishing.chapters.transfer_figures import plot_transfer_by_finding


def plot_maps(maps: pd.DataFrame) -> Figure:
    """A figure of heat maps of macro AUROC, two in a row, one for each value of ``finding``; or a note without any.

    Args:
        maps: From ``sister_tables``.
    """
    if len(maps):
        return plot_transfer_by_finding(maps, n_columns=2)
    figure, ax = plt.subplots(figsize=(7.2, 1))
    ax.set_axis_off()
    ax.text(0.5, 0.5, "nothing to show: these cells have not run", ha="center", va="center", transform=ax.transAxes)
    return figure
