import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.other_engines.comparison import GRADIENTS
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import gradient_figures


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context():
        figures.use_house_style()
        yield
        plt.close("all")


def _layers(networks):
    return pd.DataFrame(
        [
            {"network": network, "method": method, "parameter": parameter, "gradient_error": error}
            for network in networks
            for method, errors in (("Opacus hooks", (1e-7, 1.2)), ("Opacus hooks, contiguous", (1e-7, 1e-7)))
            for parameter, error in zip(("stem", "down"), errors, strict=True)
        ]
    )


def test_layer_errors_have_a_panel_a_network_and_a_point_a_parameter():
    layers = _layers(["a", "b", "c"])
    figure = gradient_figures.plot_layer_errors(layers)
    figure.canvas.draw()
    drawn = [ax for ax in figure.axes if ax.lines]
    assert [ax.get_title(loc="left") or ax.get_title() for ax in drawn] == ["a", "b", "c"]
    for ax in drawn:
        points = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
        assert points == {
            "Opacus hooks": [[0, 1e-7], [1, 1.2]],
            "Opacus hooks, contiguous": [[0, 1e-7], [1, 1e-7]],
        }
    with pytest.raises(UserError, match="no gradients"):
        gradient_figures.plot_layer_errors(layers.assign(method="Opacus ghost"))


def test_trainings_have_a_line_each_and_one_entry_an_engine():
    rows = [
        {"gradients": name, "init_label": "random", "seed": seed, "step": step, "auroc": 0.6 + 0.01 * step + 0.1 * seed}
        for name in GRADIENTS
        for seed in (0, 1)
        for step in (1, 3)
    ]
    _, ax = plt.subplots()
    gradient_figures.plot_trainings(pd.DataFrame(rows), ax)
    ax.figure.canvas.draw()
    assert len(ax.lines) == 6
    assert all(tick == round(tick) for tick in ax.get_xticks())
    assert ax.lines[1].get_xydata() == pytest.approx(pd.DataFrame({"x": [2, 4], "y": [0.71, 0.73]}).to_numpy())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [f"{name}, from random" for name in GRADIENTS]


def test_no_training_is_said():
    _, ax = plt.subplots()
    gradient_figures.plot_trainings(pd.DataFrame(columns=["gradients"]), ax)
    assert [text.get_text() for text in ax.texts] == ["not run"]
