import math

import numpy as np
import pytest

from dpcxr_core.config import FINDINGS, EvaluationChoice
from dpcxr_core.evaluation.comparing.grouped import (
    MACRO,
    compared_and_shared,
    group_rows,
    grouped_draws,
    joined,
    metric_row,
)
from dpcxr_core.evaluation.scored_images import scored_images

CHOICE = EvaluationChoice(group_columns=("sex", "age_band"))
ALL, SEX, AGE_BAND = range(3)  # places among the columns


def _grouped(tables, column, unmeasurable=()):
    """A metric that any oracle can repeat: the weighted mean score of the group's labelled images."""
    images = scored_images(*tables, CHOICE)[0]
    weights = np.random.default_rng(0).integers(1, 4, (5, len(images.image_ids)))

    def measure(f, rows):
        means = weights[:, rows] @ images.y_score[rows, f] / weights[:, rows].sum(axis=1)
        reason = "no decision threshold" if images.findings[f] in unmeasurable else ""
        return {"mean_score": (means * (np.nan if reason else 1), reason)}

    return images, weights, grouped_draws(images, images.columns[column], ["mean_score"], 5, measure)["mean_score"]


def test_each_group_and_finding_is_measured_on_its_own_images(make_tables):
    tables = make_tables()
    images, weights, grouped = _grouped(tables, SEX)
    assert grouped.findings == (*FINDINGS, MACRO)
    assert grouped.draws.shape == (5, 2, 6)
    for g, sex in enumerate(("F", "M")):
        inside = (tables[1]["sex"] == sex).to_numpy()
        for f, finding in enumerate(FINDINGS):
            expected = np.average(images.y_score[inside, f], weights=weights[2, inside])
            assert grouped.draws[2, g, f] == pytest.approx(expected, abs=1e-12)
            assert grouped.n[g, f] == inside.sum()
            assert grouped.n_positive[g, f] == tables[1].loc[inside, finding].sum()


def test_macro_is_the_mean_of_the_findings_draw_by_draw(make_tables):
    _, _, grouped = _grouped(make_tables(), AGE_BAND)
    np.testing.assert_allclose(grouped.draws[:, :, -1], grouped.draws[:, :, :-1].mean(axis=2), atol=1e-12)
    np.testing.assert_array_equal(grouped.n_positive[:, -1], grouped.n_positive[:, :-1].min(axis=1))
    assert (grouped.reasons == "").all()


def test_macro_takes_the_same_findings_in_every_group(make_tables):
    scores, cohort = make_tables()
    men = scores["image_id"].isin(cohort.loc[cohort["sex"] == "M", "image_id"])
    scores.loc[men & (scores["finding"] == "pneumonia"), "y_true"] = 0.0
    _, _, grouped = _grouped((scores, cohort), SEX)
    pneumonia = FINDINGS.index("pneumonia")
    assert grouped.defined[:, pneumonia].tolist() == [True, False]
    assert np.isnan(grouped.draws[:, 1, pneumonia]).all()
    assert grouped.reasons[1, pneumonia] == "fewer than 10 positives"
    others = [f for f in range(5) if f != pneumonia]
    np.testing.assert_allclose(grouped.draws[:, :, -1], grouped.draws[:, :, others].mean(axis=2), atol=1e-12)
    expected = "mean over atelectasis, cardiomegaly, pleural_effusion, no_finding"
    assert grouped.reasons[:, -1].tolist() == [expected, expected]


def test_a_group_without_any_finding_does_not_empty_the_others(make_tables):
    scores, cohort = make_tables()
    _, _, grouped = _grouped((scores, cohort.assign(age_years=cohort["age_years"].clip(upper=65))), AGE_BAND)
    assert grouped.defined[:, -1].tolist() == [True, True, False]
    assert grouped.reasons[:, -1].tolist() == ["", "", "no finding can be measured in this group"]
    assert grouped.n[2].tolist() == [0] * 6


def test_without_a_shared_finding_macro_is_undefined(make_tables):
    scores, cohort = make_tables()
    men = scores["image_id"].isin(cohort.loc[cohort["sex"] == "M", "image_id"])
    scores.loc[men == (scores["finding"] == "pneumonia"), "y_true"] = np.nan
    _, _, grouped = _grouped((scores, cohort), SEX)
    assert grouped.defined.any(axis=1).all()
    assert not grouped.shared.any()
    assert np.isnan(grouped.draws[:, :, -1]).all()
    assert grouped.reasons[:, -1].tolist() == ["no finding can be measured in every group"] * 2


def test_many_positives_of_few_patients_cannot_be_measured(make_tables):
    scores, cohort = make_tables()
    scores.loc[scores["finding"] == "pneumonia", "y_true"] = 0.0
    ill = scores["patient_id"].isin(cohort["patient_id"].unique()[:9])
    scores.loc[ill & (scores["finding"] == "pneumonia"), "y_true"] = 1.0
    _, _, grouped = _grouped((scores, cohort), ALL)
    pneumonia = FINDINGS.index("pneumonia")
    assert grouped.n_positive[0, pneumonia] == 27
    assert not grouped.defined[0, pneumonia]
    assert grouped.reasons[0, pneumonia] == "positives of fewer than 10 patients"


def test_unmeasurable_findings_give_their_reason_and_leave_macro(make_tables):
    _, _, grouped = _grouped(make_tables(), ALL, unmeasurable=("pneumonia",))
    assert np.isnan(grouped.draws[:, 0, FINDINGS.index("pneumonia")]).all()
    assert grouped.reasons[0, FINDINGS.index("pneumonia")] == "no decision threshold"
    assert grouped.shared.tolist() == [finding != "pneumonia" for finding in FINDINGS]


def test_rows_carry_value_interval_and_counts(make_tables):
    _, _, grouped = _grouped(make_tables(), SEX)
    rows = group_rows(grouped, "mean_score")
    assert len(rows) == 12
    men_pneumonia = next(row for row in rows if (row["group_value"], row["finding"]) == ("M", "pneumonia"))
    draws = grouped.draws[:, 1, FINDINGS.index("pneumonia")]
    assert men_pneumonia["value"] == draws[0]
    assert [men_pneumonia["low"], men_pneumonia["high"]] == np.quantile(draws[1:], [0.025, 0.975]).tolist()
    assert men_pneumonia["n"] == grouped.n[1, FINDINGS.index("pneumonia")]


def test_ece_has_no_interval_whatever_its_resamples_say(make_tables):
    _, _, grouped = _grouped(make_tables(), SEX)
    for row in group_rows(grouped, "ece"):
        assert row["value"] > 0
        assert np.isnan([row["low"], row["high"]]).all()
        assert "ECE is biased up" in row["reason"]


def test_an_undefined_value_has_no_interval_and_keeps_its_reason():
    names = {"finding": "macro", "metric": "auroc", "group_column": "all", "group_value": "all"}
    row = metric_row(math.nan, (0.1, 0.2, "note"), **names, n=5, n_positive=0, noise_floor=0.1, reason="why")
    assert np.isnan([row["low"], row["high"], row["noise_floor"]]).all()
    assert row["reason"] == "why"
    row = metric_row(0.15, (0.1, 0.2, "note"), **names, n=5, n_positive=0, reason="why")
    assert (row["low"], row["high"], row["reason"]) == (0.1, 0.2, "why; note")
    assert np.isnan(row["noise_floor"])


def test_shared_findings_are_those_of_every_group_that_has_any():
    compared, shared = compared_and_shared(np.array([[True, True, False], [False, False, False], [True, False, False]]))
    assert compared.tolist() == [True, False, True]
    assert shared.tolist() == [True, False, False]
    compared, shared = compared_and_shared(np.zeros((2, 3), dtype=bool))
    assert not compared.any()
    assert not shared.any()


def test_joined_reasons_skip_the_empty_ones():
    assert joined("", "a", "", "b") == "a; b"
    assert joined("", "") == ""
