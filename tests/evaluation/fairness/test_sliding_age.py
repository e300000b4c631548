import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dpcxr_core.config import FINDINGS, EvaluationChoice
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.fairness import sliding_age
from dpcxr_core.evaluation.fairness.sliding_age import auroc_by_age_window

CHOICE = EvaluationChoice(n_resamples=50)


def _set_windows(monkeypatch, years):
    """Windows side by side."""
    monkeypatch.setattr(sliding_age, "_WIDTH", years)
    monkeypatch.setattr(sliding_age, "_STEP", years)


def test_each_window_is_scikit_learns_auroc_of_its_patients(make_tables):
    scores, cohort = make_tables()
    table = auroc_by_age_window(scores, cohort, CHOICE)
    ages = cohort.set_index("image_id")["age_years"]
    for row in table[table["finding"] != "macro"].itertuples():
        low, high = map(int, row.group_value.split("-"))
        age = ages[scores["image_id"]].to_numpy()
        inside = scores[(age >= low) & (age < high + 1) & (scores["finding"] == row.finding)]
        assert row.n == len(inside)
        assert row.n_positive == inside["y_true"].sum()
        if inside.groupby("y_true")["patient_id"].nunique().reindex([0, 1], fill_value=0).min() < 10:
            assert np.isnan(row.value)
            assert "fewer than 10" in row.reason
        else:
            assert row.value == pytest.approx(roc_auc_score(inside["y_true"], inside["y_score"]), abs=1e-12)
            assert row.low <= row.value <= row.high
    assert table["value"].isna().any()
    assert table["value"].notna().any()


def test_windows_overlap_start_at_steps_and_leave_none_of_the_ages_out(make_tables):
    scores, cohort = make_tables()
    cohort["age_years"] = np.resize([20.0, 34.9, 35.0, 61.5, np.nan], len(cohort))
    windows = auroc_by_age_window(scores, cohort, CHOICE)["group_value"].unique().tolist()
    expected = ["10-24", "15-29", "20-34", "25-39", "30-44", "35-49", "50-64", "55-69", "60-74"]
    assert windows == expected


def test_macro_means_the_same_in_every_window_where_it_exists(make_tables, monkeypatch):
    _set_windows(monkeypatch, 22)
    scores, cohort = make_tables()
    young = scores["image_id"].isin(cohort.loc[cohort["age_years"] < 40, "image_id"])
    scores.loc[young & (scores["finding"] == FINDINGS[0]), "y_true"] = 0.0
    table = auroc_by_age_window(scores, cohort, CHOICE)
    wide = table.pivot(index="group_value", columns="finding", values="value")
    assert wide["macro"].notna().any()
    np.testing.assert_allclose(wide["macro"], wide[list(FINDINGS)].mean(axis=1, skipna=False))
    reasons = table.set_index(["group_value", "finding"])["reason"]
    assert reasons["0-21", "macro"] == "a finding cannot be measured"


def test_one_window_of_all_ages_has_the_interval_of_the_whole(make_tables, monkeypatch):
    _set_windows(monkeypatch, 200)
    scores, cohort = make_tables()
    whole = evaluate(scores, cohort, CHOICE, {}).metrics.query("metric == 'auroc' and group_column == 'all'")
    window = auroc_by_age_window(scores, cohort, CHOICE)
    for column in ("finding", "value", "low", "high", "n", "n_positive"):
        assert window[column].to_list() == whole[column].to_list()


def test_without_ages_there_is_no_window(make_tables):
    scores, cohort = make_tables()
    assert auroc_by_age_window(scores, cohort.assign(age_years=np.nan), CHOICE).empty
