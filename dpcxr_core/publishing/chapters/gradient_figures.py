"""Figures on wrong gradients: which layers, and what they do to training."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dpcxr_core.config import UserError
from dpcxr_core.other_engines.comparison import GRADIENTS

_METHODS: dict[str, dict[str, Any]] = {
    "Opacus hooks": {"color": "#d55e00", "marker": "X", "markersize": 6},
    "Opacus hooks, contiguous": {"color": "#0072b2", "marker": "o", "markersize": 3},
}
_ENGINES: dict[str, dict[str, Any]] = dict(
    zip(GRADIENTS, ({"color": "#d55e00"}, {"color": "#56b4e9", "linewidth": 6}, {"color": "black"}), strict=True)
)
_DASHES = ("-", "--", ":", "-.")


def plot_layer_errors(layers: pd.DataFrame) -> Figure:
    """The relative error of every parameter's gradients, from stem to head, log scale: a panel a network.

    Args:
        layers: As in ``GradientSurvey.layers``; "hooks" is drawn, with and without contiguous inputs.

    Raises:
        UserError: The table has no such gradients.
    """
    drawn = layers[layers["method"].isin(_METHODS)]
    networks = list(dict.fromkeys(drawn["network"]))
    if not networks:
        raise UserError(f"there are no gradients of {' or '.join(_METHODS)} to draw; got {set(layers['method'])}")
    ncols = min(2, len(networks))
    nrows = math.ceil(len(networks) / ncols)
    figure, axes = plt.subplots(nrows, ncols, figsize=(7.2, 0.8 + 2.1 * nrows), sharey=True, squeeze=False)
    for ax in axes.flat[len(networks) :]:
        ax.set_axis_off()
    for ax, network in zip(axes.flat, networks, strict=False):
        here = drawn[drawn["network"] == network]
        places = {name: place for place, name in enumerate(dict.fromkeys(here["parameter"]))}
        for method, style in _METHODS.items():
            rows = here[here["method"] == method]
            ax.plot(rows["parameter"].map(places), rows["gradient_error"], linestyle="none", label=method, **style)
        ax.set_yscale("log")
        ax.set_ylim(1e-9, 10)
        ax.set_title(network, fontsize=10)
    for ax in axes[:, 0]:
        ax.set_ylabel("relative error")
    for ax in axes[-1]:
        ax.set_xlabel("parameter, from stem to head")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def plot_trainings(aurocs: pd.DataFrame, ax: Axes) -> None:
    """Draw test AUROC against the step on ``ax``: a line a training, a colour an engine, dashes an initialisation.

    Args:
        aurocs: As from ``compare_trainings``; empty where no training was compared, which the figure then says.
        ax: Where to draw.
    """
    if aurocs.empty:
        ax.text(0.5, 0.5, "not run", ha="center", transform=ax.transAxes)
        return
    labels = list(dict.fromkeys(aurocs["init_label"]))
    for engine, style in _ENGINES.items():
        for label, dashes in zip(labels, _DASHES, strict=False):
            here = aurocs[(aurocs["gradients"] == engine) & (aurocs["init_label"] == label)]
            for seed, rows in here.groupby("seed"):
                name = f"{engine}, from {label}" if seed == here["seed"].min() else None
                ax.plot(rows["step"] + 1, rows["auroc"], linestyle=dashes, label=name, **style)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("step")
    ax.set_ylabel("macro AUROC")
