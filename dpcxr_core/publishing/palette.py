"""Colours: one for each initialisation, the same in every figure and in the explorer, and a series for all else."""

from __future__ import annotations

from collections.abc import Iterable

# Okabe and Ito (2008), colours that readers with any common colour blindness tell apart; the yellow is
# left out, for it cannot be seen on white.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_FIXED = {
    "random": "#7a7a7a",
    "non-domain supervised (stand-in)": "#0072b2",
    "non-domain self-supervised (stand-in)": "#cc79a7",
    "domain supervised (stand-in)": "#d55e00",
    "ImageNet supervised": "#56b4e9",
    "DINOv3": "#009e73",
    "MIMIC-CXR supervised": "#e69f00",
}
_SPARE = ("#009e73", "#e69f00", "#56b4e9", "#0072b2", "#cc79a7", "#d55e00", "#7a7a7a")


def init_colours(labels: Iterable[str]) -> dict[str, str]:
    """Colour ``#rrggbb`` of each initialisation, by label, in the order of ``labels``.

    Promise:
        The study's initialisations keep their colour whatever else is drawn. Others take, in the order
        given, a colour that none of ``labels`` has yet; only beyond seven labels do colours repeat.

    Example:
        >>> init_colours(["my weights", "random"])
        {'my weights': '#009e73', 'random': '#7a7a7a'}
    """
    wanted = list(dict.fromkeys(labels))
    colours = {label: _FIXED[label] for label in wanted if label in _FIXED}
    free = [colour for colour in _SPARE if colour not in colours.values()]
    others = [label for label in wanted if label not in _FIXED]
    for index, label in enumerate(others):
        colours[label] = free[index] if index < len(free) else _SPARE[index % len(_SPARE)]
    return {label: colours[label] for label in wanted}
