import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import multilabel_confusion_matrix, roc_auc_score, roc_curve

from dpcxr_core.config import FINDINGS, EvaluationChoice
from dpcxr_core.evaluation import as_published as module
from dpcxr_core.evaluation.as_published import AS_PUBLISHED_METRICS, as_published


def _reference_bootstrapper(y_true, y_score, index_list):
    """``(metrics, n_resamples, F)``, image by image as ``Prediction_DP.bootstrapper`` goes about it."""
    collected = []
    for indices in index_list:
        targets, scores = y_true[indices].astype(int), y_score[indices]
        optimal_threshold = np.zeros(targets.shape[1])
        for idx in range(targets.shape[1]):
            fpr, tpr, thresholds = roc_curve(targets[:, idx], scores[:, idx], pos_label=1)
            optimal_threshold[idx] = thresholds[np.argmax(tpr - fpr)]
        confusion = multilabel_confusion_matrix(targets, (scores > optimal_threshold).astype(int))
        tn, fp, fn, tp = confusion[:, 0, 0], confusion[:, 0, 1], confusion[:, 1, 0], confusion[:, 1, 1]
        auroc = roc_auc_score(targets, scores, average=None)
        specificity = tn / (tn + fp + 1e-15)
        of_resample = [auroc, (tp + tn) / (tp + tn + fp + fn + 1e-15), tp / (tp + fn + 1e-15), 1 - specificity]
        collected.append([*of_resample, tp / (tp + fp + 1e-15), 2 * tp / (2 * tp + fn + fp + 1e-15)])
    return np.array(collected).transpose(1, 0, 2)


@pytest.mark.parametrize("decimals", [1, 2, 12])  # many ties, some, none
def test_every_metric_is_that_of_the_authors_way(make_tables, monkeypatch, decimals):
    scores, cohort = make_tables(n_patients=100, images_per_patient=2)
    rng = np.random.default_rng(decimals)
    scores["y_score"] = np.round(
        np.clip(0.35 + 0.1 * scores["y_true"] + 0.2 * rng.normal(size=len(scores)), 0, 1), decimals
    )
    index_list = rng.integers(200, size=(40, 200))
    weights = np.stack([np.bincount(indices, minlength=200) for indices in index_list])
    monkeypatch.setattr(module, "_weights_of_images", lambda *_: weights)
    monkeypatch.setattr(module, "_gap_rows", lambda *_: [])
    cohort[["sex", "age_years"]] = [None, np.nan]  # so that all images together are the only group
    table = as_published(scores, cohort, EvaluationChoice(n_resamples=40, seed=0)).set_index(["metric", "finding"])

    wide = scores.pivot(index="image_id", columns="finding", values=["y_true", "y_score"])
    y_true, y_score = (wide[name][list(FINDINGS)].to_numpy() for name in ("y_true", "y_score"))
    expected = _reference_bootstrapper(y_true, y_score, index_list)
    assert len(table) == len(AS_PUBLISHED_METRICS) * (len(FINDINGS) + 1)
    for m, metric in enumerate(AS_PUBLISHED_METRICS):
        by_finding = {**dict(zip(FINDINGS, expected[m].T, strict=True)), "macro": expected[m].mean(axis=1)}
        for finding, draws in by_finding.items():
            row = table.loc[(metric, finding)]
            # 1e-12: means of 40 quotients of whole numbers
            assert row["as_published"] == pytest.approx(draws.mean(), abs=1e-12)
            assert row["sd"] == pytest.approx(draws.std(), abs=1e-12)
            assert (row["low"], row["high"]) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=1e-12)


def test_gaps_are_made_of_the_values_as_published(make_tables):
    table = as_published(*make_tables(), EvaluationChoice(n_resamples=20, seed=1))
    assert table.columns.tolist() == [
        *("dataset", "finding", "metric", "group_column", "group_value", "as_published", "sd", "low", "high")
    ]
    value = table.set_index(["finding", "metric", "group_column", "group_value"])
    value = value["as_published"].sort_index()
    for finding in (*FINDINGS, "macro"):
        by_age = {metric: value[finding, metric, "age_band"] for metric in AS_PUBLISHED_METRICS}
        span = {metric: np.ptp(values) for metric, values in by_age.items()}
        assert value[finding, "auroc_range", "age_band", "max-min"] == pytest.approx(span["auroc"])
        assert value[finding, "equalized_odds_difference", "age_band", "max-min"] == max(span["tpr"], span["fpr"])
        female, male = value[finding, "accuracy", "sex", "F"], value[finding, "accuracy", "sex", "M"]
        assert value[finding, "accuracy_parity_difference", "sex", "F - others"] == pytest.approx(female - male)


def test_age_bands_are_ours(make_tables):
    choice = EvaluationChoice(n_resamples=5, seed=0, age_band_edges=(0, 30, 60, 120))
    table = as_published(*make_tables(), choice)
    bands = set(table.loc[table["group_column"] == "age_band", "group_value"])
    assert {"0-29", "30-59", "60+"} < bands
    assert not {"0-39", "40-69", "70+"} & bands


def test_parity_weighs_the_other_groups_by_their_images(make_tables):
    scores, cohort = make_tables()
    cohort.loc[cohort["age_years"] >= 80, "age_years"] = 60  # many in the middle, few old
    value = as_published(scores, cohort, EvaluationChoice(n_resamples=20, seed=1))
    value = value[value["finding"] == "macro"].set_index(["metric", "group_value"])["as_published"]
    n_middle, n_old = (
        (cohort["age_years"] >= low) & (cohort["age_years"] < high) for low, high in ((40, 70), (70, 120))
    )
    others = np.average([value["accuracy", "40-69"], value["accuracy", "70+"]], weights=[n_middle.sum(), n_old.sum()])
    parity = value["accuracy_parity_difference", "0-39 - others"]
    assert parity == pytest.approx(value["accuracy", "0-39"] - others, abs=1e-12)


def test_groups_that_our_table_leaves_undefined_are_left_out(make_tables):
    scores, cohort = make_tables()
    young = cohort.loc[cohort["age_years"] < 40, "image_id"]
    few = scores["image_id"].isin(young[9:]) & (scores["finding"] == "pneumonia")
    scores.loc[few, "y_true"] = np.nan
    table = as_published(scores, cohort, EvaluationChoice(n_resamples=5, seed=0))
    there = set(zip(table["finding"], table["group_value"], strict=True))
    assert ("pneumonia", "0-39") not in there
    assert {("pneumonia", "40-69"), ("atelectasis", "0-39"), ("macro", "0-39")} <= there
    # macro takes the same findings in every group compared
    accuracy = table[(table["metric"] == "accuracy") & (table["group_value"] == "70+")].set_index("finding")
    without = [finding for finding in FINDINGS if finding != "pneumonia"]
    assert accuracy.loc["macro", "as_published"] == pytest.approx(accuracy.loc[without, "as_published"].mean())


def test_a_threshold_picked_where_it_is_used_finds_skill_in_pure_chance(make_tables):
    scores, cohort = make_tables(n_patients=150, images_per_patient=1, signal=0.0)
    table = as_published(scores, cohort, EvaluationChoice(n_resamples=100, seed=0))
    macro = table[(table["finding"] == "macro") & (table["group_column"] == "all")].set_index("metric")["as_published"]
    # 0.05 of TPR - FPR out of nothing
    assert macro["tpr"] - macro["fpr"] > 0.05


def test_resamples_depend_on_the_seed(make_tables):
    scores, cohort = make_tables()
    one = as_published(scores, cohort, EvaluationChoice(n_resamples=10, seed=0))
    pd.testing.assert_frame_equal(one, as_published(scores, cohort, EvaluationChoice(n_resamples=10, seed=0)))
    assert not one["as_published"].equals(
        as_published(scores, cohort, EvaluationChoice(n_resamples=10, seed=1))["as_published"]
    )
