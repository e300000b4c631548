import numpy as np

from dpcxr_core.evaluation.statistics.ratio import ratio


def test_what_has_nothing_to_divide_by_is_undefined_and_warns_of_nothing():
    numerator, denominator = np.array([1.0, 0.0, 1.0, 2.0]), np.array([4.0, 0.0, 0.0, np.nan])
    np.testing.assert_array_equal(ratio(numerator, denominator), [0.25, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(ratio(np.int64(1), np.int64(2)), 0.5)
