"""Figures of the transfer chapter: each draws a table, none computes a number."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.transfer.conflicts import BELOW_ONE_HALF, LIKELY_CONFLICT, NOT_TOLD_FROM_CHANCE
from dpcxr_core.evaluation.transfer.transported import LOST_OPERATING_POINT, NOT_GOT_BACK
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters.transfer_tables import over_hospitals
from dpcxr_core.publishing.forest import KIND_MARKERS, draw_row, in_order, legend_below, name_rows
from dpcxr_core.publishing.palette import SERIES, init_colours
from dpcxr_core.publishing.results import level_name

_MAP = "cividis"
_NOTHING_ABROAD = "no other hospital,\nor nothing that can be measured there"
_MARKS = {LIKELY_CONFLICT: "\n!", BELOW_ONE_HALF: "\n!", NOT_TOLD_FROM_CHANCE: "\n?"}


def plot_transfer_by_finding(matrix: pd.DataFrame, n_columns: int = 3) -> Figure:
    """A figure of heat maps of AUROC, one a finding: a row a training hospital, a column a test hospital.

    All maps share their colours. "!" marks a cell below one half, "?" one that cannot be told from it.

    Args:
        matrix: From ``transferring.transfer_matrix``.
        n_columns: Maps in a row.

    Raises:
        UserError: The matrix is empty.
    """
    if matrix.empty:
        raise UserError("there is nothing to draw: the transfer matrix is empty.")
    findings = list(dict.fromkeys(matrix["finding"]))
    n_trained = matrix["train_dataset"].nunique()
    n_rows = -(-len(findings) // n_columns)
    size = (7.2, n_rows * (0.36 * n_trained + 0.75) + 0.7)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    colours = Normalize(float(matrix["value"].min()), float(matrix["value"].max()))
    for ax in axes.flat[len(findings) :]:
        ax.set_axis_off()
    for ax, finding in zip(axes.flat, findings, strict=False):
        _draw_map(ax, matrix[matrix["finding"] == finding], colours)
        ax.set_title(finding.replace("_", " "), fontsize=11)
    figure.supxlabel("tested on", fontsize=11)
    figure.supylabel("trained on", fontsize=11)
    figure.colorbar(ScalarMappable(colours, _MAP), ax=axes, label="AUROC", fraction=0.03)
    return figure


def _draw_map(ax: Axes, cells: pd.DataFrame, colours: Normalize) -> None:
    trained, tested = (list(dict.fromkeys(cells[name])) for name in ("train_dataset", "dataset"))
    values = cells.pivot(index="train_dataset", columns="dataset", values="value").loc[trained, tested].to_numpy(float)
    ax.imshow(values, norm=colours, cmap=_MAP, aspect="auto")
    for cell in cells.to_dict("records"):
        value = cell["value"]
        dark = np.isfinite(value) and colours(value) < 0.42
        text = f"{value:.2f}{_MARKS.get(cell['note'], '')}" if np.isfinite(value) else "n/a"
        place = tested.index(cell["dataset"]), trained.index(cell["train_dataset"])
        ax.text(*place, text, ha="center", va="center", fontsize=8.5, color="white" if dark else "black")
    ax.set_xticks(range(len(tested)), tested, fontsize=9, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(trained)), trained, fontsize=9)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def plot_drop_forest(drops: pd.DataFrame, ax: Axes) -> None:
    """Draw the AUROC that each condition loses abroad, with its interval, on ``ax``: a row a condition.

    Below the name of each initialisation come its levels of privacy. Of several hospitals their mean is drawn.

    Args:
        drops: From ``drop.drops``; where it is empty a note is drawn in its place.
        ax: Where to draw.
    """
    if drops.empty:
        figures.write_nothing_to_show(_NOTHING_ABROAD, ax)
        return
    rows, where = over_hospitals(drops)
    rows = in_order(rows)
    names: list[str] = []
    for label, colour in init_colours(sorted(rows["init_label"].unique())).items():
        names.append(f"{label}:")
        for row in rows[rows["init_label"] == label].to_dict("records"):
            draw_row(ax, len(names), row, colour, KIND_MARKERS[row["kind"]])
            names.append(level_name(row["target_epsilon"], row["kind"]))
    name_rows(ax, names)
    ax.set_xlabel(f"macro AUROC lost abroad\n(to {where})")


def plot_losses(operating_points: pd.DataFrame, finding: str, ax: Axes) -> None:
    """Draw what Youden's index loses to ranking and to the operating point, by hospital, on ``ax``.

    Args:
        operating_points: The table "operating points" of ``transferring.compared_abroad``.
        finding: A finding, or "macro".
        ax: Where to draw.
    """
    rows = operating_points[
        (operating_points["finding"] == finding) & operating_points["where"].isin([NOT_GOT_BACK, LOST_OPERATING_POINT])
    ]
    if rows.empty:
        figures.write_nothing_to_show(_NOTHING_ABROAD, ax)
        return
    hospitals = list(dict.fromkeys(rows["dataset"]))
    looks = {NOT_GOT_BACK: (SERIES[0], "o", -0.13), LOST_OPERATING_POINT: (SERIES[1], "D", 0.13)}
    for row in rows.to_dict("records"):
        colour, marker, offset = looks[row["where"]]
        draw_row(ax, hospitals.index(row["dataset"]) + offset, row, colour, marker, label=row["where"])
    legend_below(ax)
    name_rows(ax, hospitals)
    of = "mean over findings" if finding == MACRO else finding.replace("_", " ")
    ax.set_xlabel(f"Youden's index lost abroad ({of})")
