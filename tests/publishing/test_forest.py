import math

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.publishing import forest


def test_rows_are_ordered_by_initialisation_then_privacy():
    kinds = ["private", "private", "public_only", "non_private"]
    rows = pd.DataFrame({"init_label": "a", "kind": kinds, "target_epsilon": [8.0, 1.0, math.nan, math.nan]})
    rows = pd.concat([rows.assign(init_label="b"), rows])
    ordered = forest.in_order(rows)
    assert ordered["init_label"].to_list() == ["a"] * 4 + ["b"] * 4
    assert ordered["kind"].to_list()[:4] == ["public_only", "private", "private", "non_private"]
    assert ordered["target_epsilon"].to_list()[1:3] == [1.0, 8.0]


def test_bars_are_lengths_from_the_value():
    rows = pd.DataFrame({"low": [0.1], "value": [0.4], "high": [0.5]})
    np.testing.assert_allclose(forest.bars(rows), [[0.3], [0.1]])


def test_a_row_is_a_point_with_its_interval_or_words(ax):
    forest.draw_row(ax, 1, {"value": 0.2, "low": 0.1, "high": 0.4}, "#0072b2", "s", label="b")
    forest.draw_row(ax, 0, {"value": math.nan, "low": math.nan, "high": math.nan}, "#0072b2", "o", label="a")
    (bar,) = ax.containers
    (ends,) = bar.lines[2]
    assert ends.get_segments()[0][:, 0] == pytest.approx([0.1, 0.4])
    assert bar.lines[0].get_markerfacecolor() == "white"
    assert [text.get_text() for text in ax.texts] == [" not shown"]
    forest.draw_row(ax, 2, {"value": 0.2, "low": 0.1, "high": 0.4}, "#0072b2", "o", label="b")
    forest.legend_below(ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b"]
    forest.name_rows(ax, ["x", "y", "z"])
    assert ax.get_ylim() == (2.5, -0.5)
