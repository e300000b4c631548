from collections import Counter

import pandas as pd

from dpcxr_core.data.counted import counted


def test_the_most_frequent_come_first_and_the_rest_is_counted():
    values = pd.Series([f"v{rank}" for rank in range(11) for _ in range(11 - rank)])
    said = counted(values.sample(frac=1, random_state=0))
    assert said.startswith("'v0' (11 times), 'v1' (10 times), ")
    assert said.endswith("'v7' (4 times) and 3 more")
    assert "v8" not in said


def test_eight_values_are_all_named():
    assert "more" not in counted("abcdefgh")
    assert counted("abcdefghi").endswith(" and 1 more")


def test_counts_made_before_are_taken_as_they_are():
    assert counted(Counter({"lung": 3, "heart": 5}), "images") == "'heart' (5 images), 'lung' (3 images)"
