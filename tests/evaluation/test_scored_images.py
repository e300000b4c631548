import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.evaluation.scored_images import one_run_id, scored_images


def test_rows_are_aligned_whatever_their_order(make_tables):
    scores, cohort = make_tables(n_patients=20)
    shuffled = scored_images(scores.sample(frac=1, random_state=0), cohort.sample(frac=1, random_state=1))[0]
    for images in (scored_images(scores, cohort)[0], shuffled):
        assert images.findings == FINDINGS
        np.testing.assert_array_equal(images.image_ids, cohort["image_id"])
        np.testing.assert_array_equal(images.patient_ids, cohort["patient_id"])
        np.testing.assert_array_equal(images.y_true, cohort[list(FINDINGS)])
        np.testing.assert_array_equal(images.groups["sex"], cohort["sex"])
        expected = scores.loc[scores["finding"] == "pneumonia", "y_score"]
        np.testing.assert_array_equal(images.y_score[:, FINDINGS.index("pneumonia")], expected)


def test_each_data_set_is_an_entry_with_the_findings_it_has(make_tables):
    north, south = make_tables(n_patients=5), make_tables(n_patients=7, dataset="south")
    scores = pd.concat([north[0], south[0][south[0]["finding"].isin(FINDINGS[:2])]])
    entries = scored_images(scores, pd.concat([north[1], south[1]]))
    assert [(images.dataset, len(images.image_ids), images.findings) for images in entries] == [
        ("north", 15, FINDINGS),
        ("south", 21, FINDINGS[:2]),
    ]


def test_an_image_without_a_row_for_a_finding_is_unlabelled_there(make_tables):
    scores, cohort = make_tables(n_patients=5)
    images = scored_images(scores.drop(index=0), cohort)[0]
    missing = np.isnan(images.y_true)
    assert missing[0, 0]
    assert missing.sum() == 1


def test_tables_that_do_not_fit_together_are_refused(make_tables):
    scores, cohort = make_tables(n_patients=5)
    with pytest.raises(UserError, match="more than once"):
        scored_images(pd.concat([scores, scores.iloc[:1]]), cohort)
    with pytest.raises(UserError, match="not in the cohort"):
        scored_images(scores, cohort.iloc[1:])
    with pytest.raises(UserError, match="another data set or patient"):
        scored_images(scores, cohort.assign(patient_id="someone"))
    with pytest.raises(UserError, match="y_score"):
        scored_images(scores.assign(y_score=1.5), cohort)
    with pytest.raises(UserError, match="age_years"):
        scored_images(scores, cohort.drop(columns="age_years"))


def test_one_run_at_a_time(make_tables):
    scores, cohort = make_tables(n_patients=5)
    assert one_run_id(scores) == "run-a"
    both = pd.concat([scores, scores.assign(run_id="run-b")])
    for wrong in (both, scores.iloc[:0]):
        with pytest.raises(UserError, match="exactly one run"):
            scored_images(wrong, cohort)
