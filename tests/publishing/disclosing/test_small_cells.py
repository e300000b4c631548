import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.publishing.disclosing.small_cells import hidden_cells, hidden_with_others, shown_counts, shown_images

COUNTS = st.lists(st.one_of(st.integers(0, 12), st.integers(0, 5000)), min_size=1, max_size=8)


@settings(derandomize=True, deadline=None)
@given(counts=COUNTS)
def test_no_small_count_is_shown_nor_the_rest_that_would_tell_it(counts):
    counts = np.array(counts)
    hidden = hidden_cells(counts)
    assert hidden[(counts > 0) & (counts < 10)].all()
    assert not hidden[counts == 0].any()
    if hidden.any() and not hidden[counts > 0].all():
        assert hidden.sum() >= 2
        assert counts[hidden].sum() >= 10
    if counts[counts > 0].min(initial=10) >= 10:
        assert not hidden.any()


@settings(derandomize=True, deadline=None)
@given(counts=COUNTS, data=st.data())
def test_hidden_cells_stay_hidden_and_are_joined_until_they_tell_of_nobody(counts, data):
    counts = np.array(counts)
    hidden = np.array(data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts))), dtype=bool)
    grown = hidden_with_others(hidden, counts)
    assert grown[hidden].all()
    if not counts[hidden].any():
        assert (grown == hidden).all()
    elif not grown[counts > 0].all():
        assert np.count_nonzero(counts[grown]) >= 2
        assert counts[grown].sum() >= 10


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ([100, 20, 30], ["100", "20", "30"]),
        ([1000, 20, 3], ["1,000", "withheld", "fewer than 10"]),
        ([1000, 20, 3, 8], ["1,000", "20", "fewer than 10", "fewer than 10"]),
        ([1000, 20, 3, 4], ["1,000", "withheld", "fewer than 10", "fewer than 10"]),
        ([7], ["fewer than 10"]),
        ([0, 30], ["0", "30"]),
        ([], []),
    ],
)
def test_shown_counts(counts, shown):
    assert shown_counts(counts) == shown


def test_images_of_few_patients_are_hidden_however_many_they_are():
    assert shown_images([184, 50, 60, 0], [1, 40, 50, 0]) == ["fewer than 10 patients", "withheld", "60", "0"]
    assert shown_images([12, 9000], [10, 4000]) == ["12", "9,000"]
