import math

import numpy as np
import pytest

from dpcxr_core.evaluation.transfer.one_half import beside_one_half


def _draws(value, standard_error, rng, n_resamples=300):
    return np.array([[value, *rng.normal(value, standard_error, n_resamples)]])


def test_verdicts_have_a_side_only_where_the_corrected_test_says_so():
    rng = np.random.default_rng(0)
    draws = {("a",): _draws(0.8, 0.02, rng), ("b",): _draws(0.4, 0.02, rng), ("c",): _draws(0.47, 0.02, rng)}
    table = beside_one_half({**draws, ("d",): np.full((1, 301), np.nan)}, ("cell",)).set_index("cell")
    assert table["verdict"].to_list() == ["above", "below", "not distinguishable", "undefined"]
    assert table.loc["c", "p"] == pytest.approx(0.13, abs=0.04)
    assert table["p_adjusted"].isna().to_list() == [False, False, False, True]
    assert table.loc["c", "low"] < 0.5 < table.loc["c", "high"]


def test_among_many_cells_at_chance_any_false_alarm_is_as_rare_as_stated():
    rng = np.random.default_rng(20260101)
    n_repeats, n_cells = 150, 15
    alarms = {"corrected": 0, "single": 0}
    for _ in range(n_repeats):
        draws = {(str(cell),): _draws(rng.normal(0.5, 0.03), 0.03, rng, n_resamples=100) for cell in range(n_cells)}
        table = beside_one_half(draws, ("cell",))
        alarms["corrected"] += (table["verdict"] != "not distinguishable").any()
        alarms["single"] += (table["p"] <= 0.05).any()

    def z(kind):
        return (alarms[kind] / n_repeats - 0.05) / math.sqrt(0.05 * 0.95 / n_repeats)

    assert z("corrected") < 5
    assert z("single") > 5  # the mistake this test exists for


def test_resamples_that_all_agree_decide():
    table = beside_one_half({("a",): np.ones((1, 50))}, ("cell",))
    assert table["verdict"].to_list() == ["above"]


def test_a_side_must_hold_over_seeds_that_disagree():
    rng = np.random.default_rng(1)
    seeds = np.concatenate([_draws(value, 0.01, rng) for value in (0.42, 0.55, 0.38)])
    table = beside_one_half({("a",): seeds, ("b",): seeds[:1]}, ("cell",))
    assert table["verdict"].to_list() == ["not distinguishable", "below"]
    assert table["value"].to_list() == pytest.approx([0.45, 0.42])
    assert table["low_with_seeds"][0] < 0.5 < table["high_with_seeds"][0]
