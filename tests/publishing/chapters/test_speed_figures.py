import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters import speed_figures

METHODS = ["ordinary", "ours, with noise", "Opacus hooks, with noise", "Opacus ghost, with noise"]


@pytest.fixture
def costs():
    ratio = [1.0, 1.1, 4.0, np.nan]
    rows = pd.DataFrame(
        {"method": METHODS, "ratio": ratio, "memory_ratio": ratio, "correct": [True, True, False, False]}
    )
    rows = rows.assign(ratio_low=rows["ratio"] - 0.1, ratio_high=rows["ratio"] + 0.2)
    return pd.concat([rows.assign(setting="a"), rows.assign(setting="b")])


def _points(ax):
    """Places and face colours of all drawn points."""
    points = [
        (x, y, to_hex(scatter.get_facecolor()[0]))
        for scatter in ax.collections
        if isinstance(scatter, matplotlib.collections.PathCollection)
        for x, y in scatter.get_offsets().tolist()
    ]
    return sorted(points, key=lambda point: point[1])


@pytest.mark.parametrize("quantity", ["time", "memory"])
def test_ratios_have_a_row_a_method_and_wrong_methods_are_open(costs, ax, quantity):
    speed_figures.plot_ratios(costs, ax, quantity)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "ordinary",
        "ours",
        "Opacus hooks",
        "Opacus ghost",
    ]
    points = _points(ax)
    assert [x for x, _, _ in points] == pytest.approx([1.0, 1.0, 1.1, 1.1, 4.0, 4.0])  # the failed one has none
    assert [round(y) for _, y, _ in points] == [0, 0, 1, 1, 2, 2]
    assert [face == "#ffffff" for _, _, face in points] == [False] * 4 + [True] * 2
    bars = [c for c in ax.collections if isinstance(c, matplotlib.collections.LineCollection)]
    assert len(bars) == (2 if quantity == "time" else 0)


def test_ratios_refuse_a_table_without_numbers(costs, ax):
    with pytest.raises(UserError, match="memory_ratio"):
        speed_figures.plot_ratios(costs.assign(memory_ratio=np.nan), ax, "memory")


@pytest.fixture
def points():
    rows = [
        {"sweep": "batch", "method": method, "batch": batch, "n_parameters": 5, "seconds": factor * batch}
        | {"least": 0.9 * factor * batch, "most": 1.1 * factor * batch, "peak_bytes": 1e6 * batch}
        for method, factor in (("ordinary", 1), ("ours, with noise", 2))
        for batch in (32, 8)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("quantity", "expected"), [("time", [16, 64]), ("memory", [8, 32])])
def test_growth_lines_hold_the_points_in_order(points, ax, quantity, expected):
    speed_figures.plot_growth(points, ax, quantity)
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert lines["ours, with noise"].get_xdata().tolist() == [8, 32]
    assert lines["ours, with noise"].get_ydata().tolist() == expected
    assert lines["ordinary"].get_color() != lines["ours, with noise"].get_color()


def test_growth_along_networks_is_drawn_by_parameters(points, ax):
    table = points.assign(sweep="network", n_parameters=1e6 * points["batch"])
    speed_figures.plot_growth(table, ax, "time")
    assert ax.get_lines()[0].get_xdata().tolist() == [8e6, 32e6]


def test_growth_refuses_two_sweeps_and_none(points, ax):
    with pytest.raises(UserError, match="one sweep"):
        speed_figures.plot_growth(pd.concat([points, points.assign(sweep="network")]), ax, "time")
    with pytest.raises(UserError, match="one sweep"):
        speed_figures.plot_growth(points.head(0), ax, "time")
