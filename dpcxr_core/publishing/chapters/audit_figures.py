"""Figures on attacks: what they reach, below what the certificate allows."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from dpcxr_core.config import UserError
from dpcxr_core.publishing.palette import GREY

_LEAST = 1e-3  # rates below cannot be read off some hundred canaries or images
_STYLES = (
    {"color": "#d55e00", "linewidth": 1.8},
    {"color": "#0072b2", "linewidth": 1.8, "linestyle": "--"},
    {"color": "#009e73", "linewidth": 1.8, "linestyle": ":"},
    {"color": "#cc79a7", "linewidth": 1.8, "linestyle": "-."},
)


def plot_attack(curves: Mapping[str, pd.DataFrame], allowed: pd.DataFrame, ax: Axes) -> None:
    """Draw TPR over FPR of attacks on ``ax``, both axes logarithmic, with what the certificate forbids shaded.

    Args:
        curves: Tables ``fpr tpr`` by name, at most four.
        allowed: Table ``fpr tpr``, the certificate's bound.
        ax: Where to draw.

    Raises:
        UserError: There are no curves, or too many to tell apart.
    """
    if not 1 <= len(curves) <= len(_STYLES):
        raise UserError(f"from 1 to {len(_STYLES)} attacks can be told apart in one figure; got {len(curves)}")
    ax.fill_between(allowed["fpr"], allowed["tpr"], 1.0, color="#eeeeee", label="forbidden by the certificate")
    ax.plot(allowed["fpr"], allowed["tpr"], color="black", linewidth=1.2)
    ax.plot([_LEAST, 1], [_LEAST, 1], color=GREY, linewidth=1, linestyle=(0, (1, 3)), label="guessing")
    for (name, curve), style in zip(curves.items(), _STYLES, strict=False):
        seen = curve[(curve["fpr"] > 0) & (curve["tpr"] > 0)]
        ax.step(seen["fpr"], seen["tpr"], where="post", label=name, **style)  # type: ignore[arg-type]
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(_LEAST, 1)
    ax.set_ylim(_LEAST, 1.05)
    ax.set_xlabel("FPR: said to be trained on, among those that were not")
    ax.set_ylabel("TPR: among those that were")
    ax.legend(loc="lower right")
