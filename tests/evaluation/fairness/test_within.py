import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, true_positive_rate

from dpcxr_core.config import FINDINGS, EvaluationChoice
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.fairness.within import evaluate_within

CHOICE = EvaluationChoice(n_resamples=30, group_columns=("sex", "view"))
THRESHOLDS = dict.fromkeys(FINDINGS, 0.5)


@pytest.fixture
def tables(make_tables):
    """More women than men at the bedside, where scores are worth less: sex has no effect of its own."""
    scores, cohort = make_tables(n_patients=900, signal=1.5)
    rng = np.random.default_rng(20260101)
    bedside = rng.random(len(cohort)) < np.where(cohort["sex"] == "F", 0.8, 0.2)
    cohort["view"] = np.where(bedside, "AP", "PA").astype(object)
    worthless = np.tile(bedside, len(FINDINGS))
    scores.loc[worthless, "y_score"] = rng.random(worthless.sum()).round(2)
    return scores, cohort


def _row(metrics, metric, column, finding="macro"):
    rows = metrics[
        (metrics["metric"] == metric) & (metrics["group_column"] == column) & (metrics["finding"] == finding)
    ]
    assert len(rows) == 1
    return rows.iloc[0]


def _z(row):
    return row["value"] / ((row["high"] - row["low"]) / 3.92)


def test_a_gap_made_by_the_view_is_gone_within_each_view(tables):
    overall = _row(evaluate(*tables, CHOICE, THRESHOLDS).metrics, "auroc_difference", "sex")
    assert _z(overall) < -5  # the wrong version: women look worse off
    metrics = evaluate_within(*tables, CHOICE, THRESHOLDS)
    for view in ("AP", "PA"):
        held_still = _row(metrics, "auroc_difference", f"sex within {view}")
        assert abs(_z(held_still)) < 5


def test_each_level_is_the_evaluation_of_its_images_and_the_column_itself_is_left_out(tables):
    scores, cohort = tables
    metrics = evaluate_within(scores, cohort, CHOICE, THRESHOLDS)
    assert set(metrics["group_column"]) == {f"{name} within {view}" for name in ("all", "sex") for view in ("AP", "PA")}
    at_bedside = scores[scores["image_id"].isin(cohort.loc[cohort["view"] == "AP", "image_id"])]
    alone = evaluate(at_bedside, cohort, EvaluationChoice(n_resamples=30, group_columns=("sex",)), THRESHOLDS).metrics
    inside = metrics[metrics["group_column"].str.endswith("within AP")].reset_index(drop=True)
    pd.testing.assert_frame_equal(inside.drop(columns="group_column"), alone.drop(columns="group_column"))


def test_differences_are_those_of_fairlearn_with_a_control_feature(tables):
    scores, cohort = tables
    metrics = evaluate_within(scores, cohort, CHOICE, THRESHOLDS)
    people = cohort.set_index("image_id")
    for finding in FINDINGS:
        of_finding = scores[scores["finding"] == finding]
        recorded = people.loc[of_finding["image_id"]]
        frame = MetricFrame(
            metrics=true_positive_rate,
            y_true=of_finding["y_true"].to_numpy(),
            y_pred=(of_finding["y_score"] >= 0.5).to_numpy(),
            sensitive_features=recorded["sex"].to_numpy(),
            control_features=recorded["view"].to_numpy(),
        )
        for view, difference in frame.difference().items():
            found = _row(metrics, "tpr_difference", f"sex within {view}", finding)["value"]
            assert found == pytest.approx(difference, abs=1e-12)


def test_a_view_without_an_image_is_left_out(make_tables):
    scores, cohort = make_tables()  # all PA
    columns = set(evaluate_within(scores, cohort, CHOICE, {})["group_column"])
    assert columns == {"all within PA", "sex within PA"}
