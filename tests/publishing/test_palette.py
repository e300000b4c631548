from itertools import combinations

import numpy as np
import pytest

from dpcxr_core.publishing.palette import GREY, SERIES, init_colours
from dpcxr_core.training.initialisation import STANDIN_LABELS

ALL = (*SERIES, GREY)
DARK_PAGE = "#121212"  # of the book's theme; JupyterLab's is darker by a shade
OKABE_AND_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
VISION = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.119192, 0.9503041]]
)


def _linear(colour):
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _contrast(colour, ground):
    """Contrast ratio of WCAG 2.1."""
    darker, lighter = sorted(TO_XYZ[1] @ _linear(each) + 0.05 for each in (colour, ground))
    return lighter / darker


def _lab(linear):
    """CIELAB of linear RGB under D65."""
    relative = TO_XYZ @ np.clip(linear, 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _least_difference(colours, vision):
    """Least distance of two colours in CIELAB; one just noticeable difference is about 2.3."""
    seen = [_lab(VISION[vision] @ _linear(colour)) for colour in colours]
    return min(np.linalg.norm(one - other) for one, other in combinations(seen, 2))


@pytest.mark.parametrize("colour", ALL)
@pytest.mark.parametrize("ground", ["#ffffff", DARK_PAGE])
def test_a_line_stands_out_from_the_light_and_from_the_dark_page(colour, ground):
    assert _contrast(colour, ground) >= 3


def test_the_colours_as_published_would_not_stand_out_from_white():
    assert min(_contrast(colour, "#ffffff") for colour in OKABE_AND_ITO) < 2.5


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart_with_any_common_colour_blindness(vision):
    assert _least_difference(ALL, vision) > 15


def test_colours_of_a_usual_palette_would_not_be_told_apart():
    usual = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")  # matplotlib's
    assert min(_least_difference(usual, vision) for vision in VISION) < 10


def test_a_label_of_the_study_keeps_its_colour_whatever_else_is_drawn():
    labels = ["random", *STANDIN_LABELS.values()]
    together = init_colours(labels)
    assert all(init_colours([label, "other"])[label] == together[label] for label in labels)


def test_colours_differ_up_to_seven_labels():
    labels = ["random", *STANDIN_LABELS.values(), "mine", "yours", "theirs"]
    assert len(set(init_colours(labels).values())) == len(labels) == 7


def test_order_is_that_of_the_labels():
    assert list(init_colours(["mine", "random", "mine"])) == ["mine", "random"]


def test_colours_of_a_series_are_those_of_the_initialisations_without_grey():
    labels = ["random", *STANDIN_LABELS.values(), "mine", "yours", "theirs"]
    assert set(SERIES) == set(init_colours(labels).values()) - set(init_colours(["random"]).values())
    assert len(set(SERIES)) == len(SERIES)
