"""500 random tables: each of our metrics is scikit-learn's or fairlearn's, and undefined exactly where it has to be."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    equal_opportunity_difference,
    equalized_odds_difference,
    false_positive_rate,
)
from scipy.special import expit, logit
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from dpcxr_core.config import FINDINGS, EvaluationChoice
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.statistics.probability_calibration import pooled_bin_edges, recalibration

# evaluated as data sets of one run, as that is faster
N_BATCHES, TABLES_IN_BATCH = 10, 50
GROUP_COLUMNS = ("sex", "age_band", "sex_and_age", "view")
KEY = ["dataset", "finding", "group_column", "metric", "group_value"]


def _table(rng, dataset):
    """Scores and cohort of 20 to 400 images: several a patient, ties, labels and groups missing, groups unequal."""
    n_images = int(np.exp(rng.uniform(np.log(20), np.log(400))))
    patient = np.sort(rng.integers(max(1, n_images // rng.integers(1, 5)), size=n_images))
    ages = rng.choice([20.0, 55.0, 80.0, np.nan], n_images, p=rng.dirichlet([1, 3, 2, 0.3]))
    cohort = pd.DataFrame(
        {
            "dataset": dataset,
            "image_id": [f"{dataset}-i{i:03d}" for i in range(n_images)],
            "patient_id": [f"{dataset}-p{p:03d}" for p in patient],
            "split": "test",
            "view": rng.choice(["AP", "PA", None], n_images, p=rng.dirichlet([3, 3, 0.3])),
            "sex": rng.choice(["F", "M", None], n_images, p=rng.dirichlet([4, 2, 0.3]))[patient],
            "age_years": ages[patient],
            "path": None,
            **dict.fromkeys(FINDINGS, np.nan),
        }
    )
    parts = []
    for finding in rng.choice(FINDINGS, rng.integers(1, 3), replace=False):
        y_true = (rng.random(n_images) < rng.uniform(0.05, 0.95)).astype(float)
        y_score = np.round(expit(rng.normal(rng.uniform(-1, 2) * y_true - 0.5)), rng.choice([1, 2, 12]))
        y_true[rng.random(n_images) < rng.choice([0, 0.2])] = np.nan
        part = cohort[["dataset", "image_id", "patient_id"]].assign(run_id="run-a", finding=finding)
        parts.append(part.assign(y_true=y_true, y_score=y_score))
    return pd.concat(parts, ignore_index=True), cohort


def _groups(cohort, column):
    """Each image's group, by ``image_id``; missing where not recorded."""
    cohort = cohort.set_index("image_id")
    band = pd.cut(cohort["age_years"], [0, 40, 70, 121], right=False, labels=["0-39", "40-69", "70+"]).astype(object)
    crossed = (cohort["sex"] + ", " + band).where(cohort["sex"].notna() & band.notna())
    return {"sex": cohort["sex"], "view": cohort["view"], "age_band": band, "sex_and_age": crossed}[column]


def _reference_ece(y_true, y_score, edges):
    return sum(
        abs(np.sum(y_true[inside] - y_score[inside]))
        for low, high in zip([-np.inf, *edges], [*edges, np.inf], strict=True)
        if (inside := (y_score >= low) & (y_score < high)).any()
    ) / len(y_true)


def _expected_of_group(y_true, y_score, y_pred, edges):
    precision, recall, f1, _ = precision_recall_fscore_support(y_true, y_pred, labels=[0, 1], zero_division=np.nan)
    return {
        "auroc": roc_auc_score(y_true, y_score),
        "auprc": average_precision_score(y_true, y_score),
        "prevalence": np.mean(y_true),
        "brier": brier_score_loss(y_true, y_score),
        "ece": _reference_ece(y_true, y_score, edges),
        "tpr": recall[1],
        "fpr": 1 - recall[0],
        "ppv": precision[1],
        "npv": precision[0],
        "f1": f1[1],
        "selection_rate": np.mean(y_pred),
    }


def _expected_of_gaps(by_group):
    """Gaps between the groups measured, from their metrics ``(group, metric)``."""
    span = by_group.max() - by_group.min()
    gaps = {
        "auroc_range": span["auroc"],
        "tpr_difference": span["tpr"],
        "fpr_difference": span["fpr"],
        "equalized_odds_difference": max(span["tpr"], span["fpr"]),
        "equalized_odds_difference_mean": (span["tpr"] + span["fpr"]) / 2,
        "selection_rate_difference": span["selection_rate"],
        "ppv_difference": span["ppv"] if by_group["ppv"].count() > 1 else np.nan,
        "ece_difference": span["ece"],
    }
    expected = {(metric, "max-min"): gap for metric, gap in gaps.items()}
    expected["worst_group_auroc", "min"] = by_group["auroc"].min()
    for one, other, name in (("F", "M", "F-M"), ("AP", "PA", "AP-PA"), ("70+", "0-39", "70+ - 0-39")):
        if {one, other} <= set(by_group.index):
            expected["auroc_difference", name] = by_group["auroc"][one] - by_group["auroc"][other]
    return expected


def _measurable(rows):
    """The images of the groups where 10 patients have a positive and 10 a negative."""
    patients = [rows[rows["y_true"] == label].groupby("group")["patient_id"].nunique() for label in (0, 1)]
    return rows[rows["group"].isin(set.intersection(*(set(each.index[each >= 10]) for each in patients)))]


def _expected(rows, edges):
    """By metric and group, what the libraries say of one finding; nothing where a group is too small."""
    by_group = {
        group: _expected_of_group(*(part[name].to_numpy() for name in ("y_true", "y_score", "y_pred")), edges)
        for group, part in _measurable(rows).groupby("group")
    }
    expected = {(metric, group): value for group, values in by_group.items() for metric, value in values.items()}
    return expected | (_expected_of_gaps(pd.DataFrame(by_group).T) if len(by_group) > 1 else {})


def _labelled(scores, cohort, column):
    """Labelled images of one table and finding, beside their group."""
    return scores.assign(group=scores["image_id"].map(_groups(cohort, column))).dropna(subset="y_true")


def _batch(batch):
    """Scores, cohort, thresholds, and the choice of one batch."""
    rng = np.random.default_rng([20260108, batch])
    tables = [_table(rng, f"table-{k:02d}") for k in range(TABLES_IN_BATCH)]
    scores, cohort = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    thresholds = {finding: float(rng.choice(scores["y_score"])) for finding in FINDINGS}
    column = GROUP_COLUMNS[batch % len(GROUP_COLUMNS)]
    scores["y_pred"] = scores["y_score"] >= scores["finding"].map(thresholds)
    choice = EvaluationChoice(n_resamples=1, group_columns=(column,), n_calibration_bins=5)
    return scores, cohort, thresholds, choice


def _values(scores, cohort, thresholds, choice):
    metrics = evaluate(scores.drop(columns="y_pred"), cohort, choice, thresholds).metrics
    assert (metrics.loc[metrics["value"].isna(), "reason"] != "").all()
    recalibrated = metrics["metric"].str.startswith("calibration_")
    return metrics[(metrics["finding"] != "macro") & ~recalibrated].set_index(KEY)["value"].dropna()


@pytest.mark.parametrize("batch", range(N_BATCHES))
def test_every_metric_is_that_of_the_libraries_and_undefined_exactly_where_they_cannot_say(batch):
    scores, cohort, thresholds, choice = _batch(batch)
    (column,) = choice.group_columns
    expected = {}
    for (dataset, finding), rows in _labelled(scores, cohort, column).groupby(["dataset", "finding"]):
        edges = pooled_bin_edges(rows["y_score"], choice.n_calibration_bins)
        for name, grouped in (("all", rows.assign(group="all")), (column, rows)):
            for (metric, group), value in _expected(grouped, edges).items():
                expected[dataset, finding, name, metric, group] = value
    expected = pd.Series(expected).dropna()
    values = _values(scores, cohort, thresholds, choice)
    assert set(values.index) == set(expected.index)
    assert len(expected) > 500
    # 1e-12: sums of at most 400 float64 terms
    np.testing.assert_allclose(values[expected.index], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", range(len(GROUP_COLUMNS)))
def test_gaps_are_fairlearns(batch):
    scores, cohort, thresholds, choice = _batch(batch)
    (column,) = choice.group_columns
    values = _values(scores, cohort, thresholds, choice)
    n_compared = 0
    for (dataset, finding), rows in _labelled(scores, cohort, column).groupby(["dataset", "finding"]):
        rows = _measurable(rows)
        if rows["group"].nunique() < 2 or n_compared == 12:  # fairlearn takes its time
            continue
        named = {"y_true": rows["y_true"], "y_pred": rows["y_pred"], "sensitive_features": rows["group"]}
        of_scores = MetricFrame(metrics=roc_auc_score, **named | {"y_pred": rows["y_score"]})
        expected = {
            "auroc_range": of_scores.difference(),
            "tpr_difference": equal_opportunity_difference(**named),
            "fpr_difference": MetricFrame(metrics=false_positive_rate, **named).difference(),
            "equalized_odds_difference": equalized_odds_difference(**named),
            "equalized_odds_difference_mean": equalized_odds_difference(**named, agg="mean"),
            "selection_rate_difference": demographic_parity_difference(**named),
        }
        for metric, value in expected.items():
            ours = values[dataset, finding, column, metric, "max-min"]
            assert ours == pytest.approx(value, abs=1e-12), (dataset, finding, metric)
        worst = values[dataset, finding, column, "worst_group_auroc", "min"]
        assert worst == pytest.approx(of_scores.group_min(), abs=1e-12)
        n_compared += 1
    assert n_compared == 12


def test_recalibrations_solve_their_score_equations():
    n_solved = 0
    for batch in range(N_BATCHES):
        scores = _batch(batch)[0].dropna(subset="y_true")
        for _, rows in scores.groupby(["dataset", "finding"]):
            y_true, y_score = rows["y_true"].to_numpy(), rows["y_score"].to_numpy()
            fit, x = recalibration(y_true, y_score), logit(np.clip(y_score, 2.0**-24, 1 - 2.0**-24))
            if not np.isnan(fit.slope):
                residuals = y_true - expit(fit.intercept + fit.slope * (x - fit.centre))
                # 1e-9: rounding, amplified by the logit of scores of exactly 0 or 1
                assert np.abs([residuals.sum(), residuals @ (x - fit.centre)]).max() < 1e-9
                assert np.sum(y_true - expit(x + fit.in_the_large)) == pytest.approx(0, abs=1e-9)
                n_solved += 1
    assert n_solved > 500
