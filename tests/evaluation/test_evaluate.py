import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, equalized_odds_difference, true_positive_rate
from sklearn.metrics import roc_auc_score

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.evaluation.evaluate import evaluate, grouped_aurocs
from dpcxr_core.evaluation.groups import ALL, age_band
from dpcxr_core.evaluation.resampling.patients import data_then_resamples, patient_weights, resampling_rng
from dpcxr_core.evaluation.scored_images import scored_images
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.tables import METRICS

KEY = ["dataset", "finding", "metric", "group_column", "group_value"]
THRESHOLDS = dict.fromkeys(FINDINGS, 0.5)


def _by_key(metrics):
    assert not metrics.duplicated(KEY).any()
    return metrics.set_index(KEY).sort_index()


def test_values_equal_sklearn_and_fairlearn_on_each_group(make_tables):
    scores, cohort = make_tables()
    rows = _by_key(evaluate(scores, cohort, n_resamples=20, seed=0, decision_thresholds=THRESHOLDS))["value"]
    groups = {"sex": cohort["sex"], "age_band": pd.Series(age_band(cohort["age_years"]))}
    for finding, part in scores.groupby("finding"):
        part = part.reset_index(drop=True)
        y_pred = (part["y_score"] >= 0.5).astype(int)
        overall = roc_auc_score(part["y_true"], part["y_score"])
        assert rows["north", finding, "auroc", "all", "all"] == pytest.approx(overall, abs=1e-12)
        for column, group in groups.items():
            frame = MetricFrame(
                metrics={"tpr": true_positive_rate},
                y_true=part["y_true"],
                y_pred=y_pred,
                sensitive_features=group,
            )
            aurocs = {
                name: roc_auc_score(part["y_true"][group == name], part["y_score"][group == name])
                for name in group.unique()
            }
            for name in group.unique():
                at = ("north", finding, column, name)
                assert rows[at[0], at[1], "auroc", column, name] == pytest.approx(aurocs[name], abs=1e-12)
                tpr = frame.by_group.loc[name, "tpr"]
                assert rows[at[0], at[1], "tpr", column, name] == pytest.approx(tpr, abs=1e-12)
            odds = equalized_odds_difference(part["y_true"], y_pred, sensitive_features=group)
            gaps = {
                "auroc_range": max(aurocs.values()) - min(aurocs.values()),
                "tpr_difference": frame.difference()["tpr"],
                "equalized_odds_difference": odds,
            }
            for metric, expected in gaps.items():
                assert rows["north", finding, metric, column, "max-min"] == pytest.approx(expected, abs=1e-12)


def test_macro_has_its_own_interval_from_the_shared_resamples(make_tables):
    scores, cohort = make_tables()
    macro = _by_key(evaluate(scores, cohort, n_resamples=50, seed=3)).loc[("north", "macro", "auroc", "all", "all")]
    weights = patient_weights(cohort["patient_id"], 50, resampling_rng(3, "north"))
    resampled = np.mean(
        [weighted_aurocs(part["y_true"], part["y_score"], weights) for _, part in scores.groupby("finding")],
        axis=0,
    )
    expected = [*np.quantile(resampled, [0.025, 0.975])]
    np.testing.assert_allclose([macro["low"], macro["high"]], expected, atol=1e-12)


def test_rows_hold_the_contract_and_no_rates_come_without_thresholds(make_tables):
    scores, cohort = make_tables(n_patients=60)
    metrics = evaluate(scores, cohort, n_resamples=5, seed=0)
    METRICS.validate(metrics)
    assert list(metrics.columns) == list(METRICS.columns)
    assert set(metrics["metric"]) == {"auroc", "auroc_difference", "auroc_range"}
    assert set(metrics["run_id"]) == {"run-a"}
    # 6 rows (5 findings, macro) for: all; F, M, F-M, range; 3 bands, oldest - youngest, range
    assert len(metrics) == 6 * (1 + 4 + 5)


def test_results_do_not_depend_on_row_order_or_other_data_sets(make_tables):
    scores, cohort = make_tables(n_patients=60)
    south_scores, south_cohort = make_tables(n_patients=40, dataset="south", seed=9)
    options = {"n_resamples": 10, "seed": 0, "decision_thresholds": THRESHOLDS}
    alone = _by_key(evaluate(scores, cohort, **options))
    together = _by_key(
        evaluate(
            pd.concat([south_scores, scores]).sample(frac=1, random_state=0),
            pd.concat([south_cohort, cohort]).sample(frac=1, random_state=1),
            **options,
        )
    )
    pd.testing.assert_frame_equal(together.loc[["north"]], alone, rtol=1e-12)
    assert "south" in together.index


def test_renaming_the_groups_flips_signed_gaps_and_nothing_else(make_tables):
    scores, cohort = make_tables(n_patients=80)
    options = {"n_resamples": 20, "seed": 0, "decision_thresholds": THRESHOLDS}
    rows = _by_key(evaluate(scores, cohort, **options)).xs("sex", level="group_column")
    swapped_cohort = cohort.assign(sex=cohort["sex"].map({"F": "M", "M": "F"}))
    swapped = _by_key(evaluate(scores, swapped_cohort, **options)).xs("sex", level="group_column")
    gaps = rows.xs("max-min", level="group_value")
    assert len(gaps) == 6 * 3
    pd.testing.assert_frame_equal(gaps, swapped.xs("max-min", level="group_value"), rtol=1e-12)
    signed, flipped = (table.xs("F-M", level="group_value") for table in (rows, swapped))
    np.testing.assert_allclose(signed[["value", "low", "high"]], -flipped[["value", "high", "low"]], atol=1e-12)
    for metric in ("auroc", "tpr", "fpr"):
        women, men = (
            rows.xs((metric, "F"), level=["metric", "group_value"]),
            swapped.xs((metric, "M"), level=["metric", "group_value"]),
        )
        np.testing.assert_allclose(women["value"], men["value"], atol=1e-12)


def test_small_groups_and_missing_labels_give_reasons(make_tables):
    scores, cohort = make_tables(n_patients=60)
    scores.loc[scores["finding"] == "cardiomegaly", "y_true"] = np.nan
    cohort = cohort.assign(age_years=cohort["age_years"].clip(upper=60))
    rows = _by_key(evaluate(scores, cohort, n_resamples=5, seed=0, decision_thresholds=THRESHOLDS))
    unlabelled = rows.loc[("north", "cardiomegaly", "auroc", "all", "all")]
    assert np.isnan(unlabelled["value"])
    assert unlabelled["n"] == 0
    assert unlabelled["reason"] == "fewer than 10 positives and fewer than 10 negatives"
    macro = rows.loc[("north", "macro", "auroc", "all", "all")]
    assert macro["reason"] == "mean over atelectasis, pleural_effusion, pneumonia, no_finding"
    oldest = rows.loc[("north", "pneumonia", "auroc_difference", "age_band", "70+ - 0-39")]
    assert np.isnan(oldest["value"])
    assert oldest["reason"].startswith("70+: fewer than 10 positives")
    assert rows.loc[rows["value"].isna(), "reason"].ne("").all()
    assert rows.loc[rows["value"].isna(), ["low", "high"]].isna().all(axis=None)


def test_a_finding_without_threshold_has_no_rates(make_tables):
    scores, cohort = make_tables(n_patients=60)
    thresholds = {**THRESHOLDS, "pneumonia": float("nan")}
    del thresholds["no_finding"]
    rows = _by_key(evaluate(scores, cohort, n_resamples=5, seed=0, decision_thresholds=thresholds))
    for finding in ("pneumonia", "no_finding"):
        tpr = rows.loc[("north", finding, "tpr", "all", "all")]
        assert np.isnan(tpr["value"])
        assert tpr["reason"] == "no decision threshold"
        assert np.isfinite(rows.loc[("north", finding, "auroc", "all", "all"), "value"])


def test_a_threshold_for_no_finding_is_refused(make_tables):
    scores, cohort = make_tables(n_patients=20)
    with pytest.raises(UserError, match="fracture"):
        evaluate(scores, cohort, n_resamples=5, seed=0, decision_thresholds={"fracture": 0.5})


def test_runs_on_the_same_patients_meet_the_same_resamples(make_tables):
    scores, cohort = make_tables(n_patients=60)
    worse, _ = make_tables(n_patients=60, signal=0.2, run_id="run-b", score_seed=2)
    draws = []
    for table in (scores, scores.assign(run_id="copy"), worse):
        images = scored_images(table, cohort)[0]
        weights = data_then_resamples(images.patient_ids, 10, resampling_rng(0, images.dataset))
        draws.append(grouped_aurocs(images, ALL, weights).draws)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0][0, 0] > draws[2][0, 0]).all()


def test_gaps_tell_a_world_where_sex_matters_and_age_does_not(make_tables):
    """Women's scores say nothing about their labels, by design."""
    scores, cohort = make_tables(n_patients=800)
    women = scores["image_id"].isin(cohort.loc[cohort["sex"] == "F", "image_id"])
    scramble = np.random.default_rng(5).permutation(scores.loc[women, "y_score"])
    scores.loc[women, "y_score"] = scramble
    rows = _by_key(evaluate(scores, cohort, n_resamples=200, seed=0))
    sex = rows.loc[("north", "macro", "auroc_difference", "sex", "F-M")]
    assert sex["high"] < 0
    assert rows.loc[("north", "macro", "auroc_range", "sex", "max-min"), "low"] > 0
    age = rows.loc[("north", "macro", "auroc_difference", "age_band", "70+ - 0-39")]
    assert age["low"] < 0 < age["high"]
