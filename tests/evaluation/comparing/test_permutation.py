import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dpcxr_core.config import FINDINGS, EvaluationChoice, UserError
from dpcxr_core.evaluation.comparing.permutation import gap_tests, permutation_p, permuted_groups
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.scored_images import scored_images
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs

CHOICE = EvaluationChoice(n_resamples=2, group_columns=("sex", "age_band"))
THRESHOLDS = dict.fromkeys(FINDINGS, 0.5)
KEYS = ["run_id", "dataset", "finding", "metric", "group_column", "group_value"]


def _images(tables):
    (images,) = scored_images(*tables, CHOICE)
    return images, {column.name: column for column in images.columns}


def _tests(tables, name, n_permutations=19, thresholds=THRESHOLDS):
    images, columns = _images(tables)
    return gap_tests(images, columns[name], thresholds, n_permutations=n_permutations, seed=0)


def _ages_by_image(tables):
    """Every third patient gets older between images, into another band."""
    scores, cohort = tables
    turns = cohort["patient_id"].str[-1].isin(["0", "3", "6"]) & cohort["image_id"].str[-1].isin(["1", "4", "7"])
    return scores, cohort.assign(age_years=np.where(turns, 90.0, cohort["age_years"]))


def test_the_gap_tested_is_that_of_the_metrics_table(make_tables):
    scores, cohort = _ages_by_image(make_tables())
    pneumonia_is_rare = (scores["finding"] == "pneumonia") & (scores["image_id"] > "north-00030")
    scores["y_true"] = scores["y_true"].mask(pneumonia_is_rare, 0.0)
    thresholds = {finding: 0.5 for finding in FINDINGS if finding != "cardiomegaly"}
    metrics = evaluate(scores, cohort, CHOICE, thresholds).metrics
    tests = pd.concat([_tests((scores, cohort), name, thresholds=thresholds) for name in ("sex", "age_band")])
    both = tests.merge(metrics, on=KEYS, suffixes=("", "_of_metrics"), validate="one_to_one")
    assert len(both) == len(tests) == 2 * 3 * 6
    np.testing.assert_allclose(both["value"], both["value_of_metrics"], atol=1e-12)
    undefined = both["value"].isna()
    assert set(both.loc[undefined, "finding"]) == {"pneumonia", "cardiomegaly"}
    np.testing.assert_array_equal(both["p"].isna(), undefined)
    np.testing.assert_array_equal(both["reason"] == "fewer than two groups can be measured", undefined)


def test_p_is_the_share_of_arrangements_with_so_large_a_gap(make_tables):
    """Slow and obvious: scikit-learn on every arrangement, group by group."""
    tables = _ages_by_image(make_tables(n_patients=80, signal=0.3))
    images, columns = _images(tables)
    column, n_permutations = columns["sex"], 19
    code = (column.of_image == "M").astype(int)
    for f, finding in [(0, "atelectasis"), (slice(None), "macro")]:
        y_true, y_score = images.y_true[:, f].reshape(len(code), -1), images.y_score[:, f].reshape(len(code), -1)
        rng = np.random.default_rng([0, *b"north"])
        permuted, unit = permuted_groups(code, images.patient_ids, y_true, n_permutations, rng)
        gaps = []
        for row in permuted[:, unit]:
            auroc_f, auroc_m = (roc_auc_score(y_true[row == g], y_score[row == g], average="macro") for g in (0, 1))
            gaps.append(abs(auroc_f - auroc_m))
        expected = np.mean(np.array(gaps) >= gaps[0] - 1e-12)
        tests = _tests(tables, "sex", n_permutations).set_index(["metric", "finding"])
        assert tests.loc[("auroc_difference", finding), "p"] == pytest.approx(expected, abs=1e-12)


def test_groups_move_among_patients_alike_and_those_in_two_groups_stay(make_tables):
    images, columns = _images(_ages_by_image(make_tables()))
    column = columns["age_band"]
    code = np.array([column.groups.index(group) for group in column.of_image])
    permuted, unit = permuted_groups(code, images.patient_ids, images.y_true, 5, np.random.default_rng(0))
    by_image = permuted[:, unit]
    np.testing.assert_array_equal(by_image[0], code)
    assert (by_image[1:] != code).any(axis=1).all()
    table = pd.DataFrame(by_image.T).assign(patient=images.patient_ids)
    groups_of_patient = table.groupby("patient").nunique()
    turned = groups_of_patient[0] > 1
    assert 0 < turned.sum() < len(turned)
    assert (groups_of_patient[~turned] == 1).all(axis=None)
    stayed = table[table["patient"].map(turned)]
    assert all((stayed[row] == stayed[0]).all() for row in range(1, 6))

    first = table.groupby("patient").first().drop(index=turned[turned].index)
    positive = pd.DataFrame(images.y_true).groupby(images.patient_ids).max().loc[first.index]
    kinds = positive.astype(str).agg("".join, axis=1)
    counts = [pd.crosstab(kinds, first[row]) for row in range(6)]
    assert all(each.equals(counts[0].rename_axis(columns=each.columns.name)) for each in counts)


def test_p_is_never_zero_and_counts_what_is_equal_or_undefined():
    assert permutation_p(np.array([0.5, 0.1, 0.2, 0.3])) == 1 / 4
    assert permutation_p(np.array([0.5, 0.1, 0.5, math.nan])) == 3 / 4
    assert permutation_p(np.array([0.1 + 0.2, 0.3, 0.0])) == pytest.approx(2 / 3)


def test_a_gap_that_is_there_is_found_and_all_runs_meet_the_same_arrangements(make_tables):
    scores, cohort = make_tables()
    men = scores["image_id"].isin(cohort.loc[cohort["sex"] == "M", "image_id"])
    chance = np.random.default_rng(0).random(len(scores))
    biased = scores.assign(y_score=np.where(men, chance, scores["y_score"]))
    tests = _tests((biased, cohort), "sex", n_permutations=99)
    assert (tests.loc[tests["metric"] == "auroc_difference", "p"] == 0.01).all()
    pd.testing.assert_frame_equal(tests, _tests((biased, cohort), "sex", n_permutations=99))


def test_at_least_one_permutation_is_needed(make_tables):
    with pytest.raises(UserError, match="n_permutations must be at least 1; got 0"):
        _tests(make_tables(), "sex", n_permutations=0)


def _null_world(rng):
    """Groups alike in scores given labels, but apart in prevalence and in images per patient; scores cluster."""
    group_of_patient = np.arange(160) % 2
    n_images = 1 + rng.binomial(3, np.where(group_of_patient == 1, 0.7, 0.4))
    patient = np.repeat(np.arange(160), n_images)
    y_true = (rng.random(160) < np.where(group_of_patient == 1, 0.7, 0.12))[patient].astype(float)
    score = y_true + rng.normal(size=160)[patient] + 0.3 * rng.normal(size=patient.size)
    return group_of_patient[patient], patient, y_true, score


def test_false_alarms_are_as_rare_as_promised():
    """400 null worlds; the wrong versions move images one by one, or forget that groups differ in prevalence."""
    rng = np.random.default_rng(20260101)
    n_repeats, n_permutations = 400, 99
    alarms = {"patients alike": 0, "single images": 0, "any patients": 0}
    for _ in range(n_repeats):
        group, patient, y_true, score = _null_world(rng)
        labels = y_true[:, np.newaxis]
        moved = {
            "patients alike": (patient, labels),
            "single images": (np.arange(patient.size), labels),
            "any patients": (patient, np.zeros_like(labels)),
        }
        for name, arguments in moved.items():
            permuted, unit = permuted_groups(group, *arguments, n_permutations, rng)
            aurocs = [weighted_aurocs(y_true, score, (permuted == g).astype(np.uint16), unit) for g in (0, 1)]
            alarms[name] += permutation_p(np.abs(aurocs[0] - aurocs[1])) <= 0.05

    def z_of(name):
        return (alarms[name] / n_repeats - 0.05) / math.sqrt(0.05 * 0.95 / n_repeats)

    assert abs(z_of("patients alike")) < 5
    assert z_of("single images") > 5  # the mistakes this test exists for
    assert z_of("any patients") > 5
