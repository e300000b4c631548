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
from dpcxr_core.evaluation.transfer.conflicts import LIKELY_CONFLICT, NOT_TOLD_FROM_CHANCE
from dpcxr_core.evaluation.transfer.drop import ALL_ABROAD
from dpcxr_core.evaluation.transfer.transported import LOST_OPERATING_POINT, LOST_RANKING
from dpcxr_core.publishing.palette import SERIES, init_colours
from dpcxr_core.publishing.transfer_tables import level_name

_MAP = "cividis"
_MARKS = {LIKELY_CONFLICT: "\n!", NOT_TOLD_FROM_CHANCE: "\n?"}


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
        drops: From ``drop.drops``; with no hospital abroad a note is drawn in its place.
        ax: Where to draw.
    """
    if drops.empty:
        _draw_nothing(ax)
        return
    several = (drops["dataset"] == ALL_ABROAD).any()
    rows = drops[drops["dataset"] == ALL_ABROAD] if several else drops
    rows = rows.sort_values(["init_label", "kind", "target_epsilon"], ascending=[True, False, True])
    names: list[str] = []
    for label, colour in init_colours(sorted(rows["init_label"].unique())).items():
        names.append(f"{label}:")
        for row in rows[rows["init_label"] == label].to_dict("records"):
            _draw_interval(ax, row, len(names), colour, "o" if row["kind"] == "private" else "s")
            names.append(level_name(row["kind"], row["target_epsilon"]))
    where = f"mean of {drops['dataset'].nunique() - 1} hospitals" if several else rows["dataset"].iloc[0]
    _finish_forest(ax, names, f"macro AUROC lost abroad\n({where})")


def plot_losses(operating_points: pd.DataFrame, finding: str, ax: Axes) -> None:
    """Draw what Youden's index loses to ranking and to the operating point, by hospital, on ``ax``.

    Args:
        operating_points: The table "operating points" of ``transferring.compared_abroad``.
        finding: A finding, or "macro".
        ax: Where to draw.
    """
    rows = operating_points[
        (operating_points["finding"] == finding) & operating_points["where"].isin([LOST_RANKING, LOST_OPERATING_POINT])
    ]
    if rows.empty:
        _draw_nothing(ax)
        return
    hospitals = list(dict.fromkeys(rows["dataset"]))
    looks = {LOST_RANKING: (SERIES[0], "o", -0.13), LOST_OPERATING_POINT: (SERIES[1], "s", 0.13)}
    for row in rows.to_dict("records"):
        colour, marker, offset = looks[row["where"]]
        _draw_interval(ax, row, hospitals.index(row["dataset"]) + offset, colour, marker, row["where"])
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    ax.legend(once.values(), once.keys(), loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    _finish_forest(ax, hospitals, f"Youden's index lost abroad ({finding.replace('_', ' ')})")


def _draw_interval(ax: Axes, row: dict, position: float, colour: str, marker: str, label: str = "") -> None:
    if np.isnan(row["value"]):
        ax.text(0, position, " undefined", va="center", fontsize=9)
        return
    bars = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
    ax.errorbar(row["value"], position, xerr=bars, color=colour, marker=marker, capsize=3, label=label)


def _finish_forest(ax: Axes, names: list[str], label: str) -> None:
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(label)


def _draw_nothing(ax: Axes) -> None:
    ax.set_axis_off()
    ax.text(0.5, 0.5, "no other hospital in this profile", ha="center", va="center", transform=ax.transAxes)
