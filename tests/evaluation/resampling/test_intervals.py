import numpy as np
import pytest

from dpcxr_core.evaluation.resampling.intervals import percentile_interval, quantile_of_sorted


def test_undefined_resamples_are_dropped_and_told_above_five_percent():
    resampled = np.arange(100.0)
    assert percentile_interval(resampled) == (*np.quantile(resampled, [0.025, 0.975]), "")
    resampled[:5] = np.nan
    assert percentile_interval(resampled) == (*np.quantile(np.arange(5.0, 100), [0.025, 0.975]), "")
    resampled[:40] = np.nan
    low, high, reason = percentile_interval(resampled)
    assert (low, high) == tuple(np.quantile(np.arange(40.0, 100), [0.025, 0.975]))
    assert reason == "40% of resamples undefined"
    low, high, reason = percentile_interval(np.full(3, np.nan))
    assert np.isnan([low, high]).all()
    assert reason == "100% of resamples undefined"


def test_resamples_that_all_agree_give_no_interval():
    for resampled in (np.ones(100), np.where(np.arange(100) < 40, np.nan, 1.0)):
        low, high, reason = percentile_interval(resampled)
        assert np.isnan([low, high]).all()
        assert reason == "all resamples agree: no interval"
    almost = np.append(np.ones(99), 0.9)
    assert percentile_interval(almost) == (*np.quantile(almost, [0.025, 0.975]), "")


@pytest.mark.parametrize("n", [1, 2, 3, 10, 37, 299, 300, 1001])
def test_quantile_of_sorted_values_is_numpys_to_the_bit(n):
    rng = np.random.default_rng(n)
    for scale in (1e-6, 1.0, 1e5):
        values = np.sort(scale * rng.normal(size=n))
        for q in (0.0, 0.025, 0.3, 0.5, 0.95, 0.975, 1.0):
            assert quantile_of_sorted(values, q) == np.quantile(values, q)
