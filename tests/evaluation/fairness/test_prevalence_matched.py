import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dpcxr_core.config import FINDINGS, EvaluationChoice
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.fairness.prevalence_matched import matched_differences

CHOICE = EvaluationChoice(n_resamples=60, group_columns=("sex", "age_band", "sex_and_age"))
THRESHOLDS = dict.fromkeys(FINDINGS, 0.5)
EDGES = (20, 40, 60, 80, 100)
FINDING = FINDINGS[0]


@pytest.fixture
def tables(make_tables):
    """Women are older and sicker, and scores are worth less in the old: sex has no effect of its own."""
    scores, cohort = make_tables(n_patients=1500, images_per_patient=2)
    rng = np.random.default_rng(20260101)
    by_patient = cohort["patient_id"].str[-4:].astype(int).to_numpy()
    female = (cohort["sex"] == "F").to_numpy()
    cohort["age_years"] = np.clip(rng.normal(50, 15, 1500)[by_patient] + np.where(female, 10, -10), 20, 99)
    women = np.tile(female, len(FINDINGS))
    healed = ~women & (scores["y_true"] == 1) & (rng.random(len(scores)) < 0.5)
    scores.loc[healed, "y_true"] = 0.0
    worth = np.clip((80 - np.tile(cohort["age_years"], len(FINDINGS))) / 40, 0, 1)
    signal = 2.5 * worth * (scores["y_true"] - 0.5)
    scores["y_score"] = np.round(1 / (1 + np.exp(-rng.normal(signal))), 3)
    return scores, cohort


def _value(metrics, metric, column, group, finding=FINDING):
    chosen = metrics.set_index(["metric", "group_column", "group_value", "finding"])
    return chosen.loc[(metric, column, group, finding)]


def test_equal_prevalence_leaves_ranking_alone_and_gives_the_ppv_of_the_closed_form(tables):
    plain = evaluate(*tables, CHOICE, THRESHOLDS).metrics
    matched = matched_differences(*tables, CHOICE, THRESHOLDS)
    labels = tables[0].query("finding == @FINDING")["y_true"]
    common = labels.mean()
    for sex in ("F", "M"):
        for metric in ("auroc", "tpr", "fpr"):
            before = _value(plain, metric, "sex", sex)
            after = _value(matched, metric, "sex at equal prevalence", sex)
            assert after[["value", "low", "high"]].to_list() == pytest.approx(
                before[["value", "low", "high"]].to_list()
            )
        tpr, fpr = (_value(plain, metric, "sex", sex)["value"] for metric in ("tpr", "fpr"))
        selected = tpr * common + fpr * (1 - common)
        found = {
            each: _value(matched, each, "sex at equal prevalence", sex)["value"] for each in ("ppv", "selection_rate")
        }
        assert found["ppv"] == pytest.approx(tpr * common / selected)
        assert found["selection_rate"] == pytest.approx(selected)
        assert found["ppv"] != pytest.approx(_value(plain, "ppv", "sex", sex)["value"], abs=0.02)  # not matched


def _z(row):
    return row["value"] / ((row["high"] - row["low"]) / 3.92)


def test_a_gap_made_by_age_is_gone_at_equal_ages(tables):
    unmatched = _value(evaluate(*tables, CHOICE, THRESHOLDS).metrics, "auroc_difference", "sex", "F-M", "macro")
    assert _z(unmatched) < -5  # the wrong version: women look worse off
    matched = matched_differences(*tables, CHOICE, THRESHOLDS, age_edges=range(20, 101, 5))
    row = _value(matched, "auroc_difference", "sex at equal prevalence and age", "F-M", "macro")
    assert abs(_z(row)) < 5
    assert abs(row["value"]) < abs(unmatched["value"]) / 3


def test_weights_give_what_resampling_to_equal_shares_gives_on_average(tables):
    scores, cohort = tables
    edges = (30, 45, 60, 75)  # of every bin, each sex has ten positives and negatives
    matched = matched_differences(scores, cohort, CHOICE, THRESHOLDS, age_edges=edges)
    table = scores.query("finding == @FINDING").merge(cohort[["image_id", "sex", "age_years"]], on="image_id")
    table["bin"] = pd.cut(table["age_years"], edges, right=False, labels=False)
    sizes = table.groupby(["y_true", "bin"]).size()
    rng = np.random.default_rng(20260101)
    for sex in ("F", "M"):
        cells = {key: rows.index for key, rows in table[table["sex"] == sex].groupby(["y_true", "bin"])}
        aurocs, ppvs = [], []
        for _ in range(100):
            drawn = table.loc[np.concatenate([rng.choice(rows, sizes[key]) for key, rows in cells.items()])]
            aurocs.append(roc_auc_score(drawn["y_true"], drawn["y_score"]))
            ppvs.append(drawn["y_true"][drawn["y_score"] >= 0.5].mean())
        for metric, draws in (("auroc", aurocs), ("ppv", ppvs)):
            found = _value(matched, metric, "sex at equal prevalence and age", sex)["value"]
            assert abs(np.mean(draws) - found) < 5 * np.std(draws) / np.sqrt(100)


def test_cells_that_a_group_has_too_few_of_leave_both_groups(tables):
    scores, cohort = tables
    women_of_sixty = (cohort["sex"] == "F") & cohort["age_years"].between(60, 80, inclusive="left")
    cohort.loc[women_of_sixty[women_of_sixty].index[9:], "age_years"] = np.nan
    row = _value(
        matched_differences(scores, cohort, CHOICE, THRESHOLDS, age_edges=EDGES),
        "auroc",
        "sex at equal prevalence and age",
        "M",
    )
    labels = scores.query("finding == @FINDING").set_index("image_id")["y_true"]
    men = cohort[(cohort["sex"] == "M")].assign(y_true=lambda each: each["image_id"].map(labels))
    men["bin"] = pd.cut(men["age_years"], EDGES, right=False, labels=False)
    women = cohort[(cohort["sex"] == "F")].assign(y_true=lambda each: each["image_id"].map(labels))
    women["bin"] = pd.cut(women["age_years"], EDGES, right=False, labels=False)
    counts = [each.groupby(["y_true", "bin"]).size() for each in (men, women)]
    both = counts[0].index[(counts[0] >= 10) & (counts[1].reindex(counts[0].index).fillna(0) >= 10)]
    assert row["n"] == counts[0][both].sum()
    assert row["n"] < counts[0].sum()


def test_age_bands_are_matched_on_prevalence_only_and_crossed_groups_not_at_all(tables):
    by_prevalence = matched_differences(*tables, CHOICE, THRESHOLDS)
    assert set(by_prevalence["group_column"]) == {"sex at equal prevalence", "age_band at equal prevalence"}
    by_age = matched_differences(*tables, CHOICE, THRESHOLDS, age_edges=EDGES)
    assert set(by_age["group_column"]) == {"sex at equal prevalence and age"}


def test_what_cannot_be_matched_is_undefined_with_its_reason(tables):
    scores, cohort = tables
    unknown = matched_differences(scores, cohort.assign(age_years=np.nan), CHOICE, THRESHOLDS, age_edges=EDGES)
    assert unknown["value"].isna().all()
    assert _value(unknown, "auroc", "sex at equal prevalence and age", "F")["reason"].startswith("fewer than 10")
    undecided = matched_differences(scores, cohort, CHOICE, {FINDING: float("nan")})
    assert _value(undecided, "ppv", "sex at equal prevalence", "F")["reason"] == "no decision threshold"
    assert not np.isnan(_value(undecided, "auroc", "sex at equal prevalence", "F")["value"])
    never = matched_differences(scores, cohort, CHOICE, dict.fromkeys(FINDINGS, 1.0))
    assert _value(never, "ppv", "sex at equal prevalence", "F")["reason"] == "no image predicted positive"
