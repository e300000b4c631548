import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    equalized_odds_difference,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_score,
    roc_auc_score,
)

from dpcxr_core.config import FINDINGS, EvaluationChoice, UserError
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.groups import age_band
from dpcxr_core.evaluation.resampling.patients import image_weights
from dpcxr_core.evaluation.scored_images import scored_images, shared_resamples
from dpcxr_core.tables import METRICS

KEY = ["dataset", "finding", "metric", "group_column", "group_value"]
THRESHOLDS = dict.fromkeys(FINDINGS, 0.5)
FEW = EvaluationChoice(n_resamples=10, group_columns=("sex", "age_band"))


def _by_key(metrics):
    assert not metrics.duplicated(KEY).any()
    return metrics.set_index(KEY).sort_index()


def _rows(scores, cohort, choice=FEW, thresholds=THRESHOLDS):
    return _by_key(evaluate(scores, cohort, choice, thresholds).metrics)


def _negative_predictive_value(y_true, y_pred):
    return precision_score(1 - y_true, 1 - y_pred)


_OF_DECISIONS = {
    "tpr": true_positive_rate,
    "fpr": false_positive_rate,
    "ppv": precision_score,
    "npv": _negative_predictive_value,
    "f1": f1_score,
    "selection_rate": selection_rate,
}
_OF_SCORES = {"auroc": roc_auc_score, "auprc": average_precision_score, "brier": brier_score_loss}


def test_values_equal_scikit_learns_and_fairlearns_on_each_group(make_tables):
    scores, cohort = make_tables()
    cohort = cohort.assign(view=np.where(np.arange(len(cohort)) % 3, "PA", "AP"))
    values = _rows(scores, cohort, EvaluationChoice(n_resamples=2), THRESHOLDS)["value"]["north"]
    bands = pd.Series(age_band(cohort["age_years"]))
    groups = {
        "all": pd.Series(["all"] * len(cohort)),
        "sex": cohort["sex"],
        "age_band": bands,
        "sex_and_age": cohort["sex"] + ", " + bands,
        "view": cohort["view"],
    }
    for finding, part in scores[scores["finding"].isin(FINDINGS[:2])].groupby("finding"):
        y_true, y_score = (part[name].to_numpy() for name in ("y_true", "y_score"))
        y_pred = (y_score >= 0.5).astype(int)
        for column, group in groups.items():
            frame = MetricFrame(metrics=_OF_DECISIONS, y_true=y_true, y_pred=y_pred, sensitive_features=group)
            for name, inside in group.groupby(group).groups.items():
                expected = frame.by_group.loc[name].to_dict()
                expected |= {metric: f(y_true[inside], y_score[inside]) for metric, f in _OF_SCORES.items()}
                ours = {metric: values[finding, metric, column, name] for metric in expected}
                assert ours == pytest.approx(expected, abs=1e-12)


def test_gaps_equal_fairlearns(make_tables):
    scores, cohort = make_tables()
    values = _rows(scores, cohort)["value"]["north"]
    groups = {"sex": cohort["sex"], "age_band": pd.Series(age_band(cohort["age_years"]))}
    for finding, part in scores[scores["finding"].isin(FINDINGS[:2])].groupby("finding"):
        y_true, y_score = (part[name].to_numpy() for name in ("y_true", "y_score"))
        y_pred = (y_score >= 0.5).astype(int)
        for column, group in groups.items():
            decided = {"y_true": y_true, "y_pred": y_pred, "sensitive_features": group}
            frame = MetricFrame(metrics=_OF_DECISIONS, **decided)
            ranked = MetricFrame(metrics=roc_auc_score, y_true=y_true, y_pred=y_score, sensitive_features=group)
            expected = {
                **{f"{name}_difference": frame.difference()[name] for name in ("tpr", "fpr", "ppv")},
                "selection_rate_difference": demographic_parity_difference(**decided),
                "equalized_odds_difference": equalized_odds_difference(**decided),
                "equalized_odds_difference_mean": equalized_odds_difference(**decided, agg="mean"),
                "auroc_range": ranked.difference(),
            }
            ours = {metric: values[finding, metric, column, "max-min"] for metric in expected}
            assert ours == pytest.approx(expected, abs=1e-12)
            assert values[finding, "worst_group_auroc", column, "min"] == pytest.approx(ranked.group_min(), abs=1e-12)


def test_macro_has_its_own_interval_from_the_shared_resamples(make_tables):
    scores, cohort = make_tables(n_patients=60)
    macro = _rows(scores, cohort).loc[("north", "macro", "auroc", "all", "all")]
    images = scored_images(scores, cohort, FEW)[0]
    weights = image_weights(shared_resamples(images, FEW))[1:]
    resampled = [
        np.mean([roc_auc_score(images.y_true[:, f], images.y_score[:, f], sample_weight=row) for f in range(5)])
        for row in weights
    ]
    np.testing.assert_allclose(macro[["low", "high"]].tolist(), np.quantile(resampled, [0.025, 0.975]), atol=1e-12)


def test_rows_hold_the_contract_and_rates_without_thresholds_are_undefined(make_tables):
    scores, cohort = make_tables(n_patients=60)
    evaluation = evaluate(scores, cohort, FEW, {})
    metrics = evaluation.metrics
    METRICS.validate(metrics)
    assert list(metrics.columns) == list(METRICS.columns)
    of_scores = {
        "auroc", "auprc", "prevalence", "brier", "ece", "calibration_slope", "calibration_in_the_large"
    }  # fmt: skip
    between = {
        "auroc_difference",
        "auroc_range",
        "worst_group_auroc",
        "ece_difference",
        "calibration_in_the_large_difference",
    }
    assert set(metrics.loc[metrics["value"].notna(), "metric"]) == of_scores | between
    assert set(metrics["run_id"]) == {"run-a"}
    # 6 rows (5 findings, macro) for each of 13 metrics of: all; F, M; 3 bands. And 11 between the sexes and bands
    assert len(metrics) == 6 * (13 * (1 + 2 + 3) + 11 * 2)
    assert metrics["finding"].nunique() == 6
    assert set(evaluation.draws) == {"north"}


def test_only_gaps_have_a_noise_floor(make_tables):
    rows = _rows(*make_tables(n_patients=60)).reset_index()
    gaps = (rows["group_value"] == "max-min") & (rows["metric"] != "ece_difference")
    assert (rows.loc[gaps, "noise_floor"] > 0).all()
    assert rows.loc[~gaps, "noise_floor"].isna().all()
    assert not rows["reason"].str.contains("expected").any()


def test_ece_and_its_gap_have_a_value_and_no_interval(make_tables):
    rows = _rows(*make_tables(n_patients=150)).reset_index()
    of_ece = rows[rows["metric"].isin(["ece", "ece_difference"])]
    assert (of_ece["value"] > 0).all()
    assert of_ece[["low", "high", "noise_floor"]].isna().all(axis=None)
    assert of_ece["reason"].str.contains("ECE is biased up").all()
    assert rows.drop(of_ece.index)[["low", "high"]].notna().all(axis=None)


def test_intervals_come_from_the_draws(make_tables):
    scores, cohort = make_tables(n_patients=60)
    evaluation = evaluate(scores, cohort, FEW, THRESHOLDS)
    row = _by_key(evaluation.metrics).loc[("north", "pneumonia", "fpr", "sex", "F")]
    drawn = evaluation.draws["north"].of("fpr", "pneumonia", "sex", "F")
    assert drawn.shape == (11,)
    expected = [drawn[0], *np.quantile(drawn[1:].astype(float), [0.025, 0.975])]
    # 1e-6: draws are float32
    np.testing.assert_allclose(row[["value", "low", "high"]].tolist(), expected, atol=1e-6)


def test_a_run_may_name_its_own_groups(make_tables):
    scores, cohort = make_tables(n_patients=60)
    insured = np.where(np.arange(len(cohort)) % 2, "state", "private")
    choice = EvaluationChoice(n_resamples=2, group_columns=("insurance", "age_band"), age_band_edges=(18, 60, 100))
    rows = _rows(scores, cohort.assign(insurance=insured), choice).reset_index()
    groups = {column: set(part["group_value"]) for column, part in rows.groupby("group_column")}
    assert groups == {
        "all": {"all"},
        "insurance": {"private", "state", "max-min", "min"},
        "age_band": {"18-59", "60+", "60+ - 18-59", "max-min", "min"},
    }


def test_results_do_not_depend_on_row_order_or_other_data_sets(make_tables):
    scores, cohort = make_tables(n_patients=60)
    south_scores, south_cohort = make_tables(n_patients=40, dataset="south", seed=9)
    alone = _rows(scores, cohort)
    together = _rows(
        pd.concat([south_scores, scores]).sample(frac=1, random_state=0),
        pd.concat([south_cohort, cohort]).sample(frac=1, random_state=1),
        thresholds=THRESHOLDS,
    )
    pd.testing.assert_frame_equal(together.loc[["north"]], alone, rtol=1e-12)
    assert "south" in together.index


def test_renaming_the_groups_flips_signed_gaps_and_nothing_else(make_tables):
    scores, cohort = make_tables(n_patients=80)
    rows = _rows(scores, cohort).xs("sex", level="group_column")
    swapped_cohort = cohort.assign(sex=cohort["sex"].map({"F": "M", "M": "F"}))
    swapped = _rows(scores, swapped_cohort).xs("sex", level="group_column")
    gaps = rows.xs("max-min", level="group_value")
    assert len(gaps) == 6 * 9
    pd.testing.assert_frame_equal(gaps, swapped.xs("max-min", level="group_value"), rtol=1e-12)
    signed, flipped = (table.xs("F-M", level="group_value") for table in (rows, swapped))
    np.testing.assert_allclose(signed[["value", "low", "high"]], -flipped[["value", "high", "low"]], atol=1e-12)
    for metric in ("auroc", "tpr", "fpr", "selection_rate"):
        women, men = (
            rows.xs((metric, "F"), level=["metric", "group_value"]),
            swapped.xs((metric, "M"), level=["metric", "group_value"]),
        )
        np.testing.assert_allclose(women["value"], men["value"], atol=1e-12)


def test_small_groups_and_missing_labels_give_reasons(make_tables):
    scores, cohort = make_tables(n_patients=60)
    scores.loc[scores["finding"] == "cardiomegaly", "y_true"] = np.nan
    cohort = cohort.assign(age_years=cohort["age_years"].clip(upper=60))
    rows = _rows(scores, cohort)
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
    rows = _rows(scores, cohort, thresholds=thresholds)
    for finding in ("pneumonia", "no_finding"):
        tpr = rows.loc[("north", finding, "tpr", "all", "all")]
        assert np.isnan(tpr["value"])
        assert tpr["reason"] == "no decision threshold"
        assert np.isfinite(rows.loc[("north", finding, "auroc", "all", "all"), "value"])


def test_a_threshold_for_no_finding_is_refused(make_tables):
    scores, cohort = make_tables(n_patients=20)
    with pytest.raises(UserError, match="fracture"):
        evaluate(scores, cohort, FEW, {"fracture": 0.5})


def test_runs_on_the_same_patients_meet_the_same_resamples(make_tables):
    scores, cohort = make_tables(n_patients=60)
    worse, _ = make_tables(n_patients=60, signal=0.2, run_id="run-b", score_seed=2)
    tables = (scores, scores.assign(run_id="copy"), worse)
    draws = [evaluate(table, cohort, FEW, {}).draws["north"].of("auroc", "macro", "all", "all") for table in tables]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] > draws[2]).all()


def test_gaps_tell_a_world_where_sex_matters_and_age_does_not(make_tables):
    """Women's scores say nothing about their labels, by design."""
    scores, cohort = make_tables(n_patients=800)
    # as many women as men at every age: the mix of patients, which resamples keep, parts no age bands
    cohort["sex"] = np.where(cohort["age_years"].rank(method="dense") % 2, "F", "M")
    women = scores["image_id"].isin(cohort.loc[cohort["sex"] == "F", "image_id"])
    scramble = np.random.default_rng(5).permutation(scores.loc[women, "y_score"])
    scores.loc[women, "y_score"] = scramble
    rows = _rows(scores, cohort, EvaluationChoice(n_resamples=200))
    sex = rows.loc[("north", "macro", "auroc_difference", "sex", "F-M")]
    assert sex["high"] < 0
    assert rows.loc[("north", "macro", "auroc_range", "sex", "max-min"), "low"] > 0
    age = rows.loc[("north", "macro", "auroc_difference", "age_band", "70+ - 0-39")]
    assert age["low"] < 0 < age["high"]
