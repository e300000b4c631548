import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.evaluation.groups import unmeasurable
from dpcxr_core.publishing.explorers.explorer_counts import shown_group_counts

KEYS = ["a|pneumonia|all|all", "a|pneumonia|sex|F", "a|pneumonia|sex|M", "a|pneumonia|view|AP", "a|pneumonia|view|PA"]


def _metrics(n, positives, finding="pneumonia", reason=""):
    """Rows of all patients, two sexes and two views."""
    column, value = zip(*(key.split("|")[2:] for key in KEYS), strict=True)
    return pd.DataFrame(
        {
            "dataset": "a",
            "finding": finding,
            "metric": "auroc",
            "group_column": column,
            "group_value": value,
            "n": n,
            "n_positive": positives,
            "reason": reason,
        }
    )


def test_counts_that_point_at_nobody_are_shown():
    counts = shown_group_counts(_metrics([200, 120, 80, 100, 100], [60, 40, 20, 30, 30]))
    assert [counts[key] for key in KEYS] == [[200, 60], [120, 40], [80, 20], [100, 30], [100, 30]]


@pytest.mark.parametrize(
    ("n", "positives", "images_shown"),
    [
        ([200, 191, 9, 100, 100], [60, 50, 5, 30, 30], False),  # few images of a group
        ([200, 120, 76, 100, 100], [60, 40, 20, 30, 30], False),  # few whose sex was not recorded
        ([200, 120, 80, 100, 100], [60, 54, 6, 30, 30], True),  # few positives
        ([200, 120, 80, 100, 100], [140, 48, 92, 98, 42], True),  # few negatives
    ],
)
def test_one_small_cell_hides_what_it_could_be_found_from_by_subtraction(n, positives, images_shown):
    counts = shown_group_counts(_metrics(n, positives))
    assert counts[KEYS[0]] == [200, positives[0]]
    for key in KEYS[1:]:
        assert (counts[key][0] is not None, counts[key][1]) == (images_shown, None)


@pytest.mark.parametrize(
    ("labels_of_few", "images_shown"),
    [([1], True), ([0], True), ([0, 1], False)],  # at last, all images are of few
)
def test_many_images_of_few_patients_are_hidden_as_few_images_are(labels_of_few, images_shown):
    labels = np.repeat([1, 0], 30)
    reason = unmeasurable(labels, np.where(np.isin(labels, labels_of_few), 0, np.arange(60)))
    n, positives = [200, 120, 80, 100, 100], [60, 40, 20, 30, 30]
    counts = shown_group_counts(_metrics(n, positives, reason=["", "", reason, "", ""]))
    assert counts[KEYS[0]] == [200, 60]
    for key in KEYS[1:]:
        assert (counts[key][0] is not None, counts[key][1]) == (images_shown, None)


def test_small_whole_is_hidden_too():
    assert set(map(tuple, shown_group_counts(_metrics([9, 5, 4, 5, 4], [2, 1, 1, 1, 1])).values())) == {(None, None)}


def test_findings_are_judged_apart():
    large = _metrics([200, 120, 80, 100, 100], [60, 40, 20, 30, 30])
    counts = shown_group_counts(pd.concat([large, _metrics([9, 5, 4, 5, 4], [2, 1, 1, 1, 1], "other")]))
    assert counts["a|pneumonia|sex|F"] == [120, 40]
    assert counts["a|other|sex|F"] == [None, None]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 40), min_size=4, max_size=4), st.lists(st.integers(0, 12), min_size=4, max_size=4))
def test_no_count_below_ten_is_told_or_left_over(n, less):
    cells = np.array(n).reshape(2, 2)
    positives = np.minimum(cells, np.array(less).reshape(2, 2))

    def table(x):
        return [int(x.sum()), *map(int, x.sum(axis=1)), *map(int, x.sum(axis=0))]

    counts = shown_group_counts(_metrics(table(cells), table(positives)))
    for images, positive in counts.values():
        assert images is None or images >= 10
        assert positive is None or positive >= 10
    for first, second in ((1, 2), (2, 1), (3, 4), (4, 3)):
        for kind in (0, 1):
            whole, told = counts[KEYS[0]][kind], counts[KEYS[first]][kind]
            if whole is not None and told is not None:
                assert whole - told not in range(1, 10)
                assert counts[KEYS[second]][kind] in (None, whole - told)
