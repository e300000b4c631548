import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.evaluation.thresholds import youden_thresholds


def _scores(y_true, y_score, finding="pneumonia"):
    return pd.DataFrame(
        {
            "run_id": "run-a",
            "dataset": "north",
            "image_id": [str(i) for i in range(len(y_true))],
            "patient_id": "p",
            "finding": finding,
            "y_true": np.asarray(y_true, dtype=float),
            "y_score": np.asarray(y_score, dtype=float),
        }
    )


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=30))
def test_threshold_is_the_highest_of_the_best_among_all_scores(images):
    y_true, eighths = np.array(images).T
    n_positive, n_negative = int(np.sum(y_true == 1)), int(np.sum(y_true == 0))
    threshold = youden_thresholds(_scores(y_true, eighths / 8))["pneumonia"]
    if not (n_positive and n_negative):
        assert np.isnan(threshold)
        return
    # in whole numbers, so that equals are equal
    gain = {
        cut: np.sum((eighths >= cut) & (y_true == 1)) * n_negative
        - np.sum((eighths >= cut) & (y_true == 0)) * n_positive
        for cut in eighths.tolist()
    }
    assert threshold == max(cut for cut in gain if gain[cut] == max(gain.values())) / 8


def test_threshold_reaches_the_best_point_of_scikit_learns_curve(make_tables):
    scores, _ = make_tables()
    thresholds = youden_thresholds(scores)
    assert list(thresholds) == list(FINDINGS)
    for finding, rows in scores.groupby("finding"):
        fpr, tpr, _ = roc_curve(rows["y_true"], rows["y_score"], drop_intermediate=False)
        y_pred = rows["y_score"] >= thresholds[finding]
        reached = y_pred[rows["y_true"] == 1].mean() - y_pred[rows["y_true"] == 0].mean()
        assert reached == pytest.approx(np.max(tpr - fpr), abs=1e-12)


def test_unlabelled_images_have_no_say():
    labelled = _scores([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.7])
    unlabelled = _scores([np.nan] * 3, [0.65, 0.65, 0.9])
    assert youden_thresholds(pd.concat([labelled, unlabelled])) == {"pneumonia": 0.6}


def test_thresholds_come_from_one_run_and_one_data_set():
    scores = _scores([0, 1], [0.2, 0.8])
    with pytest.raises(UserError, match="one data set"):
        youden_thresholds(pd.concat([scores, scores.assign(dataset="south")]))
    with pytest.raises(UserError, match="one run"):
        youden_thresholds(pd.concat([scores, scores.assign(run_id="run-b")]))
