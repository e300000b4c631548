import math

import numpy as np
import pytest
from scipy.stats import t

from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.evaluation.transfer import one_half

MANY = 10_000  # patients of the smaller class, enough for t to be normal


def beside_one_half(draws, n_patients=MANY):
    return one_half.beside_one_half(draws, ("cell",), dict.fromkeys(draws, n_patients))


def _draws(value, standard_error, rng, n_resamples=300):
    return np.array([[value, *rng.normal(value, standard_error, n_resamples)]])


def test_verdicts_have_a_side_only_where_the_corrected_test_says_so():
    rng = np.random.default_rng(0)
    draws = {("a",): _draws(0.8, 0.02, rng), ("b",): _draws(0.4, 0.02, rng), ("c",): _draws(0.47, 0.02, rng)}
    table = beside_one_half({**draws, ("d",): np.full((1, 301), np.nan)}).set_index("cell")
    assert table["verdict"].to_list() == ["above", "below", "not distinguishable", "undefined"]
    standard_error = draws["c",][0, 1:].std(ddof=1)
    assert table.loc["c", "p"] == pytest.approx(2 * t.sf(0.03 / standard_error, MANY - 1))
    assert table["p_adjusted"].isna().to_list() == [False, False, False, True]
    assert table.loc["c", "low"] < 0.5 < table.loc["c", "high"]


def test_among_many_cells_at_chance_any_false_alarm_is_as_rare_as_stated():
    rng = np.random.default_rng(20260101)
    n_repeats, n_cells = 150, 15
    alarms = {"corrected": 0, "single": 0}
    for _ in range(n_repeats):
        draws = {(str(cell),): _draws(rng.normal(0.5, 0.03), 0.03, rng, n_resamples=100) for cell in range(n_cells)}
        table = beside_one_half(draws)
        alarms["corrected"] += (table["verdict"] != "not distinguishable").any()
        alarms["single"] += (table["p"] <= 0.05).any()

    def z(kind):
        return (alarms[kind] / n_repeats - 0.05) / math.sqrt(0.05 * 0.95 / n_repeats)

    assert z("corrected") < 5
    assert z("single") > 5  # the mistake this test exists for


def test_resamples_that_all_agree_decide():
    table = beside_one_half({("a",): np.ones((1, 50))})
    assert table["verdict"].to_list() == ["above"]


def test_a_side_must_hold_over_seeds_that_disagree():
    rng = np.random.default_rng(1)
    seeds = np.concatenate([_draws(value, 0.01, rng) for value in (0.42, 0.55, 0.38)])
    table = beside_one_half({("a",): seeds, ("b",): seeds[:1]})
    # the seed that stands alone is believed no more than those that show how far seeds lie apart
    assert table["verdict"].to_list() == ["not distinguishable"] * 2
    assert beside_one_half({("b",): seeds[:1]})["verdict"].to_list() == ["below"]
    assert table["value"].to_list() == pytest.approx([0.45, 0.42])
    assert table["low_with_seeds"][0] < 0.5 < table["high_with_seeds"][0]


def test_of_few_patients_it_is_as_sure_as_it_says():
    """1,500 models that rank at random, tested on 10 patients with the finding and 40 without, at a level of 0.01."""
    rng = np.random.default_rng(20260101)
    n_with, n_without, n_repeats, level = 10, 40, 1500, 0.01
    y_true = np.repeat([1.0, 0.0], [n_with, n_without])
    draws = {(str(repeat),): _ranking_at_random(y_true, rng) for repeat in range(n_repeats)}

    def z(n_patients):
        share = (beside_one_half(draws, n_patients)["p"] <= level).mean()
        return (share - level) / math.sqrt(level * (1 - level) / n_repeats)

    assert abs(z(n_with)) < 5
    assert z(MANY) > 5  # the normal p of before


def _ranking_at_random(y_true, rng, n_resamples=100):
    resampled = [
        rng.multinomial(int(n), np.full(int(n), 1 / n), size=n_resamples) for n in np.bincount(y_true.astype(int))[::-1]
    ]
    weights = np.concatenate([np.ones((1, y_true.size)), np.concatenate(resampled, axis=1)])
    return weighted_aurocs(y_true, rng.random(y_true.size), weights)[np.newaxis]
