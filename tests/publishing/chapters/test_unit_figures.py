import math

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters.unit_figures import plot_epsilon_by_images

TABLE = pd.DataFrame(
    {
        "target_epsilon": [1.0, 1.0, 1.0, 8.0, 8.0, 8.0],
        "images": [4, 1, 184, 1, 4, 184],
        "tight": [4.7, 1.0, 70.0, 8.0, 60.0, math.inf],
        "formula": [5.0, 1.0, math.inf, 8.0, math.inf, math.inf],
    }
)


def test_lines_follow_the_table_in_order_and_end_where_nothing_is_promised():
    _, ax = plt.subplots()
    plot_epsilon_by_images(TABLE, ax)
    lines = {line.get_label(): line for line in ax.get_lines() if line.get_label().startswith("image")}
    assert list(lines["image epsilon 1, tight"].get_xdata()) == [1, 4, 184]
    assert list(lines["image epsilon 1, tight"].get_ydata()) == [1.0, 4.7, 70.0]
    assert list(lines["image epsilon 8, formula"].get_xdata()) == [1]
    assert lines["image epsilon 8, formula"].get_linestyle() == "--"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "4", "184"]


def test_table_without_what_is_drawn_is_refused():
    _, ax = plt.subplots()
    with pytest.raises(UserError, match="formula"):
        plot_epsilon_by_images(TABLE.drop(columns="formula"), ax)
    with pytest.raises(UserError, match="rows"):
        plot_epsilon_by_images(TABLE.head(0), ax)
