import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.multiplicity import holm
from dpcxr_core.evaluation.comparing.paired import (
    CONTRAST_COLUMNS,
    contrasts_over_seeds,
    difference_of_draws,
    over_seeds_of_draws,
    table_over_seeds,
    verdict,
)
from dpcxr_core.evaluation.draws import Draws

N_RESAMPLES = 200


def _draws(values, run_id="run-a", dataset="north"):
    """AUROCs of a run in one finding and two groups, from ``(1 + n_resamples, 2)``."""
    values = np.asarray(values, dtype=np.float32)[:, :, np.newaxis]
    return Draws(run_id, dataset, ("macro",), (("sex", "F"), ("sex", "M")), {"auroc": values}, np.full((2, 1), 500))


def _seeds(rng, truth, patients, seeds, n_seeds):
    """Contrasts of seeds that share their test patients: errors of standard deviation ``patients`` and ``seeds``."""
    on_the_data = truth + patients * rng.normal() + seeds * rng.normal(size=n_seeds)
    resampled = on_the_data[:, np.newaxis] + patients * rng.normal(size=N_RESAMPLES)
    return np.concatenate([on_the_data[:, np.newaxis], resampled], axis=1)


def test_difference_is_that_of_each_resample():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1 + N_RESAMPLES, 2))
    difference = difference_of_draws(_draws(a), _draws(b, "run-b"), "auroc", "macro", "sex", "M")
    np.testing.assert_allclose(difference, a[:, 1] - b[:, 1], atol=1e-6)  # stored as float32
    itself = difference_of_draws(_draws(a), _draws(a, "copy"), "auroc", "macro", "sex", "M")
    assert (itself == 0).all()


def test_runs_on_other_patients_or_resamples_are_refused():
    values = np.full((1 + N_RESAMPLES, 2), 0.5)
    for other in (_draws(values, "run-b", "south"), _draws(values[:-1], "run-b")):
        with pytest.raises(UserError, match="'run-b' cannot be paired"):
            difference_of_draws(_draws(values), other, "auroc", "macro", "sex", "F")


def test_errors_of_patients_and_of_seeds_stay_apart():
    rng = np.random.default_rng(0)
    shared = 0.01 * rng.normal(size=N_RESAMPLES)
    by_seed = np.array([[0.10], [0.14], [0.12]]) + np.concatenate([[0], shared])
    row = over_seeds_of_draws(by_seed)
    assert tuple(row) == CONTRAST_COLUMNS
    assert row["value"] == pytest.approx(0.12)
    assert row["n_seeds"] == 3
    assert row["seed_sd"] == pytest.approx(0.02)
    assert row["se_seeds"] == pytest.approx(0.02 / math.sqrt(3))
    assert row["se_sampling"] == pytest.approx(shared.std(ddof=1))
    assert [row["low"], row["high"]] == pytest.approx(0.12 + np.quantile(shared, [0.025, 0.975]))
    assert row["low_with_seeds"] < row["low"] < row["high"] < row["high_with_seeds"]
    assert row["reason"] == ""


def test_without_an_error_of_the_patients_it_is_students_t():
    values = np.array([0.02, 0.05, 0.03, 0.01])
    row = over_seeds_of_draws(np.tile(values[:, np.newaxis], 1 + N_RESAMPLES))
    assert row["p"] == pytest.approx(ttest_1samp(values, 0).pvalue, rel=1e-9)
    expected = ttest_1samp(values, 0).confidence_interval()
    assert [row["low_with_seeds"], row["high_with_seeds"]] == pytest.approx(list(expected), rel=1e-9)


def test_one_seed_shows_no_spread_and_says_so():
    rng = np.random.default_rng(0)
    row = over_seeds_of_draws(_seeds(rng, 0.03, 0.01, 0, n_seeds=1))
    assert np.isnan([row[name] for name in ("seed_sd", "se_seeds", "low_with_seeds", "high_with_seeds")]).all()
    assert 0 < row["p"] < 1
    assert row["reason"] == "one seed"


def test_runs_that_never_differ_have_p_1():
    row = over_seeds_of_draws(np.zeros((2, 1 + N_RESAMPLES)))
    assert (row["p"], row["low_with_seeds"], row["high_with_seeds"]) == (1, 0, 0)
    assert math.isnan(over_seeds_of_draws(np.full((1, 1 + N_RESAMPLES), 0.25))["p"])


def test_undefined_is_nan_with_its_reason():
    by_seed = np.random.default_rng(0).random((2, 1 + N_RESAMPLES))
    by_seed[0, 0] = math.nan
    row = over_seeds_of_draws(by_seed)
    assert (row.pop("n_seeds"), row.pop("reason")) == (2, "undefined for some seeds")
    assert np.isnan(list(row.values())).all()
    assert over_seeds_of_draws(by_seed[:1])["reason"] == "undefined"
    by_seed[0, 0] = 0.5
    by_seed[0, 1:101] = math.nan
    row = over_seeds_of_draws(by_seed)
    assert row["reason"] == "50% of resamples undefined"
    assert row["se_sampling"] == pytest.approx(by_seed.mean(axis=0)[101:].std(ddof=1))


@pytest.mark.parametrize("seeds", [0, 0.02])
def test_interval_and_p_count_patients_and_seeds(seeds):
    """1,000 comparisons of three seeds; the wrong versions leave out what seeds add, or what patients do."""
    rng = np.random.default_rng(20260101)
    n_repeats, truth, patients = 1000, 0.01, 0.02
    covered = {"with seeds": 0, "patients alone": 0, "seeds alone": 0}
    for _ in range(n_repeats):
        by_seed = _seeds(rng, truth, patients, seeds, n_seeds=3)
        row = over_seeds_of_draws(by_seed)
        covered["with seeds"] += row["low_with_seeds"] <= truth <= row["high_with_seeds"]
        covered["patients alone"] += row["low"] <= truth <= row["high"]
        covered["seeds alone"] += abs(row["value"] - truth) <= 4.3 * row["se_seeds"]  # t with 2 degrees of freedom

    def z_of(name):
        return (covered[name] / n_repeats - 0.95) / math.sqrt(0.95 * 0.05 / n_repeats)

    assert abs(z_of("with seeds")) < 5
    assert z_of("seeds alone") < -5
    assert (z_of("patients alone") < -5) == (seeds > 0)


def test_the_variance_between_seeds_is_that_of_all_rows():
    values = [np.array([0.1, 0.3]), np.array([0.5, 0.5, 0.8]), np.array([0.2])]
    unknown = np.full((2, 1 + N_RESAMPLES), math.nan)
    certain = [np.tile(each[:, np.newaxis], 1 + N_RESAMPLES) for each in values]
    table = table_over_seeds([*certain, unknown])
    assert table.columns.to_list() == [*CONTRAST_COLUMNS]
    assert table["seed_sd"].to_list() == pytest.approx(
        [math.sqrt(0.02), math.sqrt(0.03), math.nan, math.nan], nan_ok=True
    )
    pooled = math.sqrt((1 * 0.02 + 2 * 0.03) / 3)  # the row without a value has no part in it
    expected = pooled / np.sqrt([2, 3, 1])
    assert table["se_seeds"].to_list() == pytest.approx([*expected, math.nan], nan_ok=True)
    means = table["value"].to_numpy()[:3]
    assert table["p"].to_list()[:3] == pytest.approx(2 * t.sf(means / expected, 3))
    margins = expected * t.ppf(0.975, 3)
    assert table["low_with_seeds"].to_list()[:3] == pytest.approx(means - margins)
    assert table["high_with_seeds"].to_list()[:3] == pytest.approx(means + margins)
    assert table.iloc[3][["p", "low_with_seeds", "high_with_seeds"]].isna().all()


def test_degrees_of_freedom_of_the_patients_widen_the_patients_part():
    rng = np.random.default_rng(0)
    alone = _seeds(rng, 0.03, 0.01, 0, n_seeds=1)
    table = table_over_seeds([alone, alone, alone], [9, 9, math.inf])
    error = table["se_sampling"].to_numpy()
    expected = 2 * t.sf(table["value"] / error, [9, 9, math.inf])
    assert table["p"].to_list() == pytest.approx(expected)


def test_no_false_alarm_in_a_family_of_two_seeds_more_often_than_stated():
    """12 true nulls, seeds that vary twice as much as patients; the wrong version trusts a row's own two seeds."""
    rng = np.random.default_rng(20260101)
    n_repeats, n_rows = 150, 12
    alarms = {"pooled": 0, "own variance": 0}
    for _ in range(n_repeats):
        family = [_seeds(rng, 0, 0.01, 0.02, n_seeds=2) for _ in range(n_rows)]
        alarms["pooled"] += (holm(table_over_seeds(family)["p"]) <= 0.05).any()
        alarms["own variance"] += (holm([over_seeds_of_draws(each)["p"] for each in family]) <= 0.05).any()

    def z(kind):
        return (alarms[kind] / n_repeats - 0.05) / math.sqrt(0.05 * 0.95 / n_repeats)

    assert abs(z("pooled")) < 5
    assert z("own variance") > 5


def test_every_comparison_becomes_a_row():
    pairs = pd.DataFrame({"target_epsilon": [1.0, math.nan, 1.0], "seed": [0, 0, 1], "draw": [1, 2, 3]})
    rows = contrasts_over_seeds(pairs, ["target_epsilon"], lambda pair: np.full(1 + N_RESAMPLES, float(pair["draw"])))
    assert rows.columns.to_list() == ["target_epsilon", *CONTRAST_COLUMNS]
    assert rows["value"].to_list() == [2, 2]
    assert rows["n_seeds"].to_list() == [2, 1]
    assert math.isnan(rows["target_epsilon"].iloc[1])
    assert contrasts_over_seeds(pairs.iloc[:0], ["target_epsilon"], np.array).empty


@pytest.mark.parametrize(
    ("value", "p", "expected"),
    [
        (0.02, 0.01, "better"),
        (-0.02, 0.05, "worse"),
        (0.02, 0.06, "not distinguishable"),
        (math.nan, math.nan, "not distinguishable"),
    ],
)
def test_verdict_needs_a_p_of_at_most_five_percent(value, p, expected):
    assert verdict(value, p) == expected
