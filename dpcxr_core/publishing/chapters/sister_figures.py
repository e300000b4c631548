"""Heat maps of train-here, test-there matrices, ours and published ones."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters.answer_figures import NOT_RUN
from dpcxr_core.publishing.chapters.transfer_figures import plot_transfer_by_finding


def plot_maps(maps: pd.DataFrame) -> Figure:
    """A figure of heat maps of macro AUROC, two in a row, one for each value of ``finding``; or a note without any.

    Args:
        maps: From ``sister_tables``.
    """
    return plot_transfer_by_finding(maps, n_columns=2) if len(maps) else figures.nothing_to_show(NOT_RUN)
