import numpy as np
import pandas as pd
import pytest

from dpcxr_core.evaluation.groups import unmeasurable
from dpcxr_core.evaluation.small_counts import hidden_counts, without_small_cells


def _rows(n, positives):
    groups = {"group_column": ["all", "sex", "sex"], "group_value": ["all", "F", "M"]}
    return pd.DataFrame(
        {**groups, "n": n, "n_positive": positives, "value": 0.6, "low": 0.5, "high": 0.7, "reason": ""}
    )


@pytest.mark.parametrize("column", ["n", "n_positive"])
def test_nine_lose_value_and_interval_and_ten_keep_them(column):
    table = without_small_cells(_rows([200, 120, 80], [60, 40, 20]).assign(**{column: [200, 9, 10]}))
    assert table["value"].isna().tolist() == [False, True, False]
    assert np.isnan(table.loc[1, ["low", "high"]].to_numpy(float)).all()
    assert table.loc[1, "reason"] == "fewer than 10 images or positives"


@pytest.mark.parametrize(
    ("n", "positives", "images", "labels"),
    [
        ([200, 120, 80], [60, 40, 20], [False, False, False], [False, False, False]),
        ([200, 120, 80], [60, 54, 6], [False, False, False], [False, True, True]),  # 60 - 54
        ([200, 120, 80], [60, 40, 15], [False, False, False], [False, True, True]),  # five of unknown sex
        ([200, 195, 5], [60, 58, 2], [False, True, True], [False, True, True]),
        ([200, 120, 80], [140, 115, 25], [False, False, False], [False, True, True]),  # five negatives
    ],
)
def test_what_tells_a_small_count_is_hidden_with_it(n, positives, images, labels):
    hidden = hidden_counts(_rows(n, positives))
    assert hidden["images"].tolist() == images
    assert hidden["positives"].tolist() == labels


@pytest.mark.parametrize(("labels_of_few", "images"), [([1], False), ([0], False), ([0, 1], True)])
def test_labels_of_few_patients_hide_as_few_images_do(labels_of_few, images):
    labels = np.repeat([1, 0], 30)
    reason = unmeasurable(labels, np.where(np.isin(labels, labels_of_few), 0, np.arange(60)))
    hidden = hidden_counts(_rows([200, 120, 80], [60, 40, 20]).assign(reason=["", reason, ""]))
    assert hidden["images"].tolist() == [False, images, images]
    assert hidden["positives"].tolist() == [False, True, True]
