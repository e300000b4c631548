from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters.sampling_figures import plot_brackets
from tests.publishing.chapters.test_sampling_tables import POISSON, SHUFFLED


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context():
        figures.use_house_style()
        yield
        plt.close("all")


def test_bars_run_from_lower_to_upper_bound_beside_the_poisson_epsilon():
    figure = plot_brackets({"here": [POISSON, SHUFFLED], "there": [POISSON, replace(SHUFFLED, epsilon=50.0)]})
    figure.canvas.draw()
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["here", "there"]
    for ax, upper in zip(figure.axes, (138.2, 50.0), strict=True):
        lines = [line.get_xdata() for line in ax.lines]
        assert list(lines[0]) == [8.0, 8.0]
        assert [8.0, 8.0] in [list(line) for line in lines[1:]]  # where no lower bound is known, a point
        assert [24.0, upper] in [list(line) for line in lines[1:]]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "Poisson, add or remove",
        "shuffled, zero out",
    ]
    assert figure.axes[0].yaxis_inverted()


@pytest.mark.parametrize("guarantees", [{}, {"here": []}, {"here": [POISSON], "there": [SHUFFLED]}])
def test_settings_that_cannot_share_rows_are_refused(guarantees):
    with pytest.raises(UserError, match="same samplers and relations"):
        plot_brackets(guarantees)
