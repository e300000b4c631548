import pytest

from dpcxr_core.study.delong_check import beside_delong
from tests.study import DRAWS_ARE_FLOAT32


def test_both_ways_find_the_same_difference_and_an_error_of_the_same_size(tiny_study):
    first, second = tiny_study.folders[0], tiny_study.folders[-1]
    (value, low, high), delong = beside_delong(first, second, tiny_study.places, "no_finding")
    assert delong.difference == pytest.approx(value, abs=DRAWS_ARE_FLOAT32)
    assert low < value < high
    # twofold: 40 resamples leave the width uncertain, and DeLong takes a patient's images for independent
    assert 0.5 < (high - low) / (2 * 1.96 * delong.standard_error) < 2
    swapped, _ = beside_delong(second, first, tiny_study.places, "no_finding")
    assert swapped[0] == pytest.approx(-value)
