import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.multiplicity import benjamini_hochberg, holm, with_adjusted_p

P_VALUES = st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1, max_size=30).map(np.array)


def _called_by_benjamini_hochberg(p, rate):
    """The step-up rule as published: up to the largest i whose i-th smallest p is at most i/m of the rate."""
    ordered = np.sort(p)
    below = np.flatnonzero(ordered <= rate * np.arange(1, p.size + 1) / p.size)
    return p <= ordered[below[-1]] if below.size else np.zeros(p.size, dtype=bool)


def _called_by_holm(p, rate):
    """The step-down rule as published: stop at the first p that exceeds the rate over the tests still open."""
    called = np.zeros(p.size, dtype=bool)
    for i, test in enumerate(np.argsort(p, kind="stable")):
        if p[test] > rate / (p.size - i):
            break
        called[test] = True
    return called


@pytest.mark.parametrize(
    ("adjust", "called"), [(benjamini_hochberg, _called_by_benjamini_hochberg), (holm, _called_by_holm)]
)
def test_a_test_is_called_exactly_where_the_published_rule_calls_it(adjust, called):
    rng = np.random.default_rng(20260101)
    for n in (1, 2, 5, 40):
        p = np.round(rng.random(n) ** 3, 3)  # many small, and ties
        for rate in (0.013, 0.05, 0.2):  # no adjusted p of three decimals falls on these
            np.testing.assert_array_equal(adjust(p) <= rate + 1e-12, called(p, rate + 1e-12))


@settings(derandomize=True, deadline=None, max_examples=100)
@given(P_VALUES)
def test_adjusting_never_lowers_keeps_the_order_and_holm_is_the_stricter(p):
    defined = ~np.isnan(p)
    found, strict = benjamini_hochberg(p), holm(p)
    for adjusted in (found, strict):
        np.testing.assert_array_equal(np.isnan(adjusted), ~defined)
        assert (adjusted[defined] >= p[defined] - 1e-12).all()
        assert (adjusted[defined] <= 1).all()
        assert (np.diff(adjusted[defined][np.argsort(p[defined])]) >= 0).all()
    assert (strict[defined] >= found[defined] - 1e-12).all()


def test_what_could_not_be_tested_does_not_count():
    for adjust in (benjamini_hochberg, holm):
        with_gaps = adjust([0.01, math.nan, 0.02, math.nan])
        np.testing.assert_allclose(with_gaps[[0, 2]], adjust([0.01, 0.02]))
        assert np.isnan(adjust([math.nan, math.nan])).all()
        assert adjust([]).size == 0


def test_a_family_is_named_counted_and_adjusted():
    table = pd.DataFrame({"group": ["sex", "age", "view"], "p": [0.01, 0.2, math.nan]}, index=[3, 1, 1])
    adjusted = with_adjusted_p(table, "groups", holm)
    assert adjusted.columns.to_list() == ["group", "p", "family", "p_adjusted", "n_in_family"]
    np.testing.assert_array_equal(adjusted["p_adjusted"], [0.02, 0.2, math.nan])
    assert (adjusted["family"] == "groups").all()
    assert (adjusted["n_in_family"] == 2).all()
    assert with_adjusted_p(table.iloc[:0], "groups", holm).columns.to_list() == adjusted.columns.to_list()


def test_what_is_no_p_is_refused():
    with pytest.raises(UserError, match="1.2"):
        holm([0.5, 1.2])
