"""Figures on samplers: between which bounds the epsilon of each lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dpcxr_core.accounting.samplers import SamplerGuarantee
from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters.sampling_tables import RELATION_WORDS, SAMPLER_WORDS
from dpcxr_core.publishing.palette import SERIES

_COLOURS = dict(zip(RELATION_WORDS, SERIES, strict=False))


def plot_brackets(guarantees: Mapping[str, Sequence[SamplerGuarantee]]) -> Figure:
    """Draw the bounds on epsilon of every sampler, a panel a setting, a row a sampler and neighbouring relation.

    A bar runs from what is certainly spent to what is at most spent. The dashed line is the epsilon of Poisson
    sampling, which is often reported for all of them.

    Args:
        guarantees: By the name of the setting; every setting has the same samplers and relations in the same order.

    Raises:
        UserError: There is nothing to draw, or the settings differ in their rows.
    """
    rows = {name: [(each.sampler, each.neighbouring_relation) for each in of] for name, of in guarantees.items()}
    first = next(iter(rows.values()), [])
    if not first or any(each != first for each in rows.values()):
        raise UserError(f"every setting needs the same samplers and relations, at least one; got {rows}")
    figure, axes = plt.subplots(1, len(rows), figsize=(7.4, 1.6 + 0.36 * len(first)), sharey=True, squeeze=False)
    for ax, (name, of) in zip(axes[0], guarantees.items(), strict=True):
        ax.set_title(name, fontsize=11)
        _draw_setting(of, ax)
    labels = [
        f"{SAMPLER_WORDS[sampler]}, {RELATION_WORDS[relation].removesuffix(' one')}" for sampler, relation in first
    ]
    axes[0, 0].set_yticks(range(len(first)), labels)
    axes[0, 0].invert_yaxis()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _draw_setting(guarantees: Sequence[SamplerGuarantee], ax: Axes) -> None:
    ax.axvline(guarantees[0].epsilon_if_poisson, color="black", linestyle="--", linewidth=1.2, label="if Poisson")
    named = set()
    for place, each in enumerate(guarantees):
        relation = each.neighbouring_relation
        low = each.epsilon if math.isnan(each.epsilon_low) else each.epsilon_low
        colour, label = _COLOURS[relation], None if relation in named else RELATION_WORDS[relation]
        named.add(relation)
        ax.plot([low, each.epsilon], [place, place], color=colour, linewidth=5, solid_capstyle="butt", label=label)
        ax.plot([low, each.epsilon], [place, place], color=colour, marker="|", markersize=13, linestyle="none")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("epsilon")
