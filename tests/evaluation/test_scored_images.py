import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, EvaluationChoice, UserError
from dpcxr_core.evaluation.scored_images import one_run_id, scored_images, shared_resamples

CHOICE = EvaluationChoice(n_resamples=5)


def test_rows_are_aligned_whatever_their_order(make_tables):
    scores, cohort = make_tables(n_patients=20)
    shuffled = scored_images(scores.sample(frac=1, random_state=0), cohort.sample(frac=1, random_state=1), CHOICE)[0]
    for images in (scored_images(scores, cohort, CHOICE)[0], shuffled):
        assert images.findings == FINDINGS
        np.testing.assert_array_equal(images.image_ids, cohort["image_id"])
        np.testing.assert_array_equal(images.patient_ids, cohort["patient_id"])
        np.testing.assert_array_equal(images.y_true, cohort[list(FINDINGS)])
        assert [column.name for column in images.columns] == ["all", *CHOICE.group_columns]
        np.testing.assert_array_equal(images.columns[1].of_image, cohort["sex"])
        expected = scores.loc[scores["finding"] == "pneumonia", "y_score"]
        np.testing.assert_array_equal(images.y_score[:, FINDINGS.index("pneumonia")], expected)


def test_each_data_set_is_an_entry_with_the_findings_it_has(make_tables):
    north, south = make_tables(n_patients=5), make_tables(n_patients=7, dataset="south")
    scores = pd.concat([north[0], south[0][south[0]["finding"].isin(FINDINGS[:2])]])
    entries = scored_images(scores, pd.concat([north[1], south[1]]), CHOICE)
    assert [(images.dataset, len(images.image_ids), images.findings) for images in entries] == [
        ("north", 15, FINDINGS),
        ("south", 21, FINDINGS[:2]),
    ]


def test_an_image_without_a_row_for_a_finding_is_unlabelled_there(make_tables):
    scores, cohort = make_tables(n_patients=5)
    images = scored_images(scores.drop(index=0), cohort, CHOICE)[0]
    missing = np.isnan(images.y_true)
    assert missing[0, 0]
    assert missing.sum() == 1


def test_tables_that_do_not_fit_together_are_refused(make_tables):
    scores, cohort = make_tables(n_patients=5)
    with pytest.raises(UserError, match="more than once"):
        scored_images(pd.concat([scores, scores.iloc[:1]]), cohort, CHOICE)
    with pytest.raises(UserError, match="not in the cohort"):
        scored_images(scores, cohort.iloc[1:], CHOICE)
    with pytest.raises(UserError, match="another data set or patient"):
        scored_images(scores, cohort.assign(patient_id="someone"), CHOICE)
    with pytest.raises(UserError, match="y_score"):
        scored_images(scores.assign(y_score=1.5), cohort, CHOICE)
    with pytest.raises(UserError, match="age_years"):
        scored_images(scores, cohort.drop(columns="age_years"), CHOICE)


def test_one_run_at_a_time(make_tables):
    scores, cohort = make_tables(n_patients=5)
    assert one_run_id(scores) == "run-a"
    both = pd.concat([scores, scores.assign(run_id="run-b")])
    for wrong in (both, scores.iloc[:0]):
        with pytest.raises(UserError, match="exactly one run"):
            scored_images(wrong, cohort, CHOICE)


def test_a_group_column_that_no_data_set_records_is_refused_by_name(make_tables):
    north, south = make_tables(n_patients=5), make_tables(n_patients=5, dataset="south")
    scores = pd.concat([north[0], south[0]])
    cohort = pd.concat([north[1], south[1].assign(insurance="state", race=None)])
    entries = scored_images(scores, cohort, EvaluationChoice(group_columns=("sex", "insurance")))
    assert [[column.name for column in images.columns] for images in entries] == [
        ["all", "sex"],
        ["all", "sex", "insurance"],
    ]
    for name in ("religion", "race"):
        with pytest.raises(UserError, match=f"'{name}'"):
            scored_images(scores, cohort, EvaluationChoice(group_columns=(name,)))


def test_all_runs_on_a_data_set_share_resamples_and_no_group_vanishes(make_tables):
    scores, cohort = make_tables(n_patients=40)
    worse, _ = make_tables(n_patients=40, run_id="run-b", score_seed=2)
    one, other = (scored_images(each, cohort, CHOICE)[0] for each in (scores, worse))
    resamples = shared_resamples(one, CHOICE)
    np.testing.assert_array_equal(resamples.weights, shared_resamples(other, CHOICE).weights)
    different = [EvaluationChoice(n_resamples=5, seed=1), EvaluationChoice(n_resamples=5, age_band_edges=(0, 50, 120))]
    for choice in different:
        assert (shared_resamples(scored_images(scores, cohort, choice)[0], choice).weights != resamples.weights).any()
    of_patient = cohort.groupby("patient_id")["sex"].first()
    assert (resamples.weights[:, of_patient == "F"].sum(axis=1) == (of_patient == "F").sum()).all()
