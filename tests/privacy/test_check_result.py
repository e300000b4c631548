import math

from dpcxr_core.privacy.check_result import at_most, worst_of


def test_check_passes_up_to_its_limit_and_never_with_nan():
    assert at_most("a", 1.0, 1.0, "").passed
    assert not at_most("a", 1.1, 1.0, "").passed
    assert not at_most("a", math.inf, 1.0, "").passed
    assert not at_most("a", math.nan, 1.0, "").passed


def test_worst_is_the_largest_and_nan_above_all():
    assert worst_of({"a": 1.0, "b": 3.0, "c": -5.0}) == "b"
    assert worst_of({"a": 1.0, "b": math.nan, "c": 9.0}) == "b"
