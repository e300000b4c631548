import numpy as np
import pytest

from dpcxr_core.evaluation.comparing.paired import CONTRAST_COLUMNS
from dpcxr_core.evaluation.transfer.interval_table import interval_table


def test_each_key_is_a_row_with_the_mean_of_its_seeds():
    seeds = np.array([[0.6, *np.linspace(0, 1, 41)], [0.8, *np.linspace(0, 1, 41)]])
    table = interval_table({("a", "x"): seeds, ("b", "y"): np.full((1, 42), np.nan)}, ("where", "metric"))
    assert table.columns.to_list() == ["where", "metric", *CONTRAST_COLUMNS]
    assert table.loc[0, ["value", "low", "high", "n_seeds"]].to_list() == pytest.approx([0.7, 0.025, 0.975, 2])
    assert table.loc[1, ["where", "metric", "reason"]].to_list() == ["b", "y", "undefined"]


def test_nothing_makes_an_empty_table():
    assert interval_table({}, ("where",)).columns.to_list() == ["where", *CONTRAST_COLUMNS]
