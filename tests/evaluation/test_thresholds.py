import json
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_curve

from dpcxr_core.config import FINDINGS, THRESHOLD_RULES, EvaluationChoice, UserError
from dpcxr_core.evaluation.thresholds import DecisionThresholds, choose_thresholds


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


def _threshold(scores, rule, **choice):
    return choose_thresholds(scores, EvaluationChoice(threshold_rule=rule, **choice)).values["pneumonia"]


def _reference_goodness(rule, y_true, y_pred):
    n_true, n_false = int(np.sum(y_true & y_pred)), int(np.sum(~y_true & y_pred))
    tpr, fpr = Fraction(n_true, int(y_true.sum())), Fraction(n_false, int((~y_true).sum()))
    return {
        "youden": tpr - fpr,
        "fixed_tpr": tpr >= Fraction("0.7"),
        "max_f1": Fraction(2 * n_true, n_true + n_false + int(y_true.sum())),
    }[rule]


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=30), st.sampled_from(THRESHOLD_RULES))
def test_threshold_is_the_highest_of_the_best_among_all_scores(images, rule):
    y_true, eighths = np.array(images).T
    y_true = y_true == 1
    threshold = _threshold(_scores(y_true, eighths / 8), rule, fixed_tpr=0.7)
    if y_true.all() or not y_true.any():
        assert np.isnan(threshold)
        return
    # in exact fractions, so that equals are equal
    goodness = {cut: _reference_goodness(rule, y_true, eighths >= cut) for cut in set(eighths.tolist())}
    assert threshold == max(cut for cut in goodness if goodness[cut] == max(goodness.values())) / 8


def test_thresholds_reach_the_best_points_of_scikit_learns_curves(make_tables):
    scores, _ = make_tables()
    chosen = {rule: choose_thresholds(scores, EvaluationChoice(threshold_rule=rule)) for rule in THRESHOLD_RULES}
    assert list(chosen["youden"].values) == list(FINDINGS)
    for finding, rows in scores.groupby("finding"):
        y_true, y_score = rows["y_true"].to_numpy(), rows["y_score"].to_numpy()
        fpr, tpr, cuts = roc_curve(y_true, y_score, drop_intermediate=False)
        y_pred = {rule: y_score >= thresholds.values[finding] for rule, thresholds in chosen.items()}
        reached = y_pred["youden"][y_true == 1].mean() - y_pred["youden"][y_true == 0].mean()
        assert reached == pytest.approx(np.max(tpr - fpr), abs=1e-12)
        assert chosen["fixed_tpr"].values[finding] == cuts[tpr >= 0.9].max()
        best_f1 = max(f1_score(y_true, y_score >= cut) for cut in np.unique(y_score))
        assert f1_score(y_true, y_pred["max_f1"]) == pytest.approx(best_f1, abs=1e-12)


@pytest.mark.parametrize("hundredths", [7, 14, 28, 55, 56, 90])
def test_a_tpr_that_is_reached_exactly_is_enough(hundredths):
    # 0.07 * 100 lies above 7: a product would ask for one positive more
    scores = _scores([1] * 100 + [0], [*(np.arange(100, 0, -1) / 100), 0.0])
    assert _threshold(scores, "fixed_tpr", fixed_tpr=hundredths / 100) == (101 - hundredths) / 100


def test_unlabelled_images_have_no_say():
    labelled = _scores([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.7])
    unlabelled = _scores([np.nan] * 3, [0.65, 0.65, 0.9])
    assert _threshold(pd.concat([labelled, unlabelled]), "youden") == 0.6


def test_thresholds_come_back_from_json_with_what_they_were_chosen_on(make_tables):
    scores, _ = make_tables()
    thresholds = choose_thresholds(scores, EvaluationChoice(threshold_rule="fixed_tpr", fixed_tpr=0.8))
    assert DecisionThresholds(**json.loads(json.dumps(asdict(thresholds)))) == thresholds
    assert (thresholds.rule, thresholds.fixed_tpr) == ("fixed_tpr", 0.8)
    assert (thresholds.run_id, thresholds.dataset) == ("run-a", "north")
    labels = scores[scores["finding"] == "pneumonia"]["y_true"]
    assert (thresholds.n["pneumonia"], thresholds.n_positive["pneumonia"]) == (len(labels), labels.sum())
    assert choose_thresholds(scores, EvaluationChoice()).fixed_tpr is None


@pytest.mark.parametrize("n_positive", [9, 41])
def test_counts_that_can_point_at_people_are_left_out(n_positive):
    y_true = np.arange(50) < n_positive
    thresholds = choose_thresholds(_scores(y_true, np.linspace(0, 1, 50)), EvaluationChoice())
    assert np.isfinite(thresholds.values["pneumonia"])
    assert thresholds.n == thresholds.n_positive == {}


def test_thresholds_come_from_one_run_and_one_data_set():
    scores = _scores([0, 1], [0.2, 0.8])
    with pytest.raises(UserError, match="one data set"):
        choose_thresholds(pd.concat([scores, scores.assign(dataset="south")]), EvaluationChoice())
    with pytest.raises(UserError, match="one run"):
        choose_thresholds(pd.concat([scores, scores.assign(run_id="run-b")]), EvaluationChoice())
