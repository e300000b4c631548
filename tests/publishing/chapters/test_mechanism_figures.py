import math

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters.mechanism_figures import plot_aurocs, plot_norms

AUROCS = pd.DataFrame(
    {
        "name": ["both", "both", "neither"],
        "seed": [0, 1, 0],
        "value": [0.7, 0.8, math.nan],
        "low": [0.6, 0.7, math.nan],
        "high": [0.75, 0.85, math.nan],
    }
)
NORMS = pd.DataFrame({"name": ["a"] * 4, "seed": [0, 0, 1, 1], "step": [0, 1, 0, 1], "norm": [2.0, 3.0, 2.5, 3.5]})


def test_means_are_drawn_and_a_training_that_diverged_is_named():
    _, ax = plt.subplots()
    plot_aurocs(AUROCS, ax)
    means = [line.get_xdata() for line in ax.get_lines() if line.get_linewidth() == 2.5]
    assert [list(mean) for mean in means] == [[pytest.approx(0.75)] * 2]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["both", "neither"]
    assert [text.get_text() for text in ax.texts] == ["diverged"]
    with pytest.raises(UserError, match="empty"):
        plot_aurocs(AUROCS.head(0), ax)
    with pytest.raises(UserError, match="seed"):
        plot_aurocs(AUROCS.drop(columns="seed"), ax)


@pytest.mark.parametrize(("factor", "scale"), [(1, "linear"), (100, "log")])
def test_norms_are_a_line_a_seed_on_a_scale_that_holds_them(factor, scale):
    _, ax = plt.subplots()
    plot_norms(NORMS.assign(norm=NORMS["norm"] * factor), ax)
    drawn = [list(line.get_ydata()) for line in ax.get_lines()[:2]]
    assert drawn == [[2.0 * factor, 3.0 * factor], [2.5 * factor, 3.5 * factor]]
    assert ax.get_yscale() == scale
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a"]


def test_norms_that_are_not_to_be_shown_leave_the_axes_empty():
    _, ax = plt.subplots()
    plot_norms(NORMS.head(0), ax)
    assert ax.get_legend() is None
