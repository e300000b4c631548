"""Colours: one for each initialisation, the same in every figure and in the explorer, and a series for all else."""

from __future__ import annotations

from collections.abc import Iterable

# After Okabe and Ito (2008), without their yellow. Their orange and sky blue are darkened: every colour stands out from
# white and from the dark page by 3 to 1, and from every other for readers with any common colour blindness.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#99773d", "#0094ff")
GREY = "#636363"
_FIXED = {
    "random": GREY,
    # short names in the study files of the project
    "supervised": "#0072b2",
    "selfsupervised": "#cc79a7",
    "domain": "#d55e00",
    "imagenet": "#0094ff",
    "dinov3": "#009e73",
    "mimic_from_imagenet": "#99773d",
    "mimic_from_dinov3": "#d55e00",
    # labels
    "non-domain supervised (stand-in)": "#0072b2",
    "non-domain self-supervised (stand-in)": "#cc79a7",
    "domain supervised (stand-in)": "#d55e00",
    "ImageNet supervised": "#0094ff",
    "DINOv3": "#009e73",
    "MIMIC-CXR supervised": "#99773d",
}
_SPARE = ("#009e73", "#99773d", "#0094ff", "#0072b2", "#cc79a7", "#d55e00", GREY)


def init_colours(labels: Iterable[str]) -> dict[str, str]:
    """Colour ``#rrggbb`` of each initialisation, by label, in the order of ``labels``.

    Promise:
        The study's initialisations keep their colour whatever else is drawn. Others take, in the order
        given, a colour that none of ``labels`` has yet; only beyond seven labels do colours repeat.

    Example:
        >>> init_colours(["my weights", "random"])
        {'my weights': '#009e73', 'random': '#636363'}
    """
    wanted = list(dict.fromkeys(labels))
    colours = {label: _FIXED[label] for label in wanted if label in _FIXED}
    free = [colour for colour in _SPARE if colour not in colours.values()]
    others = [label for label in wanted if label not in _FIXED]
    for index, label in enumerate(others):
        colours[label] = free[index] if index < len(free) else _SPARE[index % len(_SPARE)]
    return {label: colours[label] for label in wanted}
