import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.evaluation.comparing.paired import paired_difference, verdict_of_interval
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.tables import METRICS

OPTIONS = {"n_resamples": 100, "seed": 0}


@pytest.fixture
def runs(make_tables):
    """Run a, a reference run b whose scores are those of a with a little more noise, and their cohort."""
    scores_a, cohort = make_tables()
    noise = np.random.default_rng(7).normal(scale=0.1, size=len(scores_a))
    scores_b = scores_a.assign(run_id="run-b", y_score=(scores_a["y_score"] + noise).clip(0, 1))
    return scores_a, scores_b, cohort


def test_difference_is_that_of_the_two_runs_aurocs(runs):
    scores_a, scores_b, cohort = runs
    rows = paired_difference(scores_a, scores_b, cohort, **OPTIONS)
    METRICS.validate(rows)
    assert list(rows["finding"]) == [*FINDINGS, "macro"]
    assert set(rows["run_id"]) == {"run-a"}
    assert set(rows["metric"]) == {"auroc_minus_reference"}
    assert set(rows["reason"]) == {"reference run-b"}
    alone = [evaluate(scores, cohort, **OPTIONS).query("group_column == 'all'") for scores in (scores_a, scores_b)]
    expected = alone[0]["value"].to_numpy() - alone[1]["value"].to_numpy()
    np.testing.assert_allclose(rows["value"], expected, atol=1e-12)
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()


def test_pairing_cancels_what_both_runs_find_hard(runs):
    scores_a, scores_b, cohort = runs
    paired = paired_difference(scores_a, scores_b, cohort, **OPTIONS).query("finding == 'macro'").iloc[0]
    alone = evaluate(scores_a, cohort, **OPTIONS).query("finding == 'macro' and group_column == 'all'").iloc[0]
    assert paired["high"] - paired["low"] < 0.6 * (alone["high"] - alone["low"])


def test_a_run_does_not_differ_from_itself(runs):
    scores_a, _, cohort = runs
    rows = paired_difference(scores_a, scores_a.assign(run_id="copy"), cohort, **OPTIONS)
    assert (rows[["value", "low", "high"]] == 0).all(axis=None)


def test_undefined_findings_keep_their_reason(runs):
    scores_a, scores_b, cohort = runs
    tables = [
        table.assign(y_true=table["y_true"].mask(table["finding"] == "pneumonia")) for table in (scores_a, scores_b)
    ]
    rows = paired_difference(*tables, cohort, **OPTIONS).set_index("finding")
    assert np.isnan(rows.loc["pneumonia", "value"])
    assert rows.loc["pneumonia", "reason"].startswith("reference run-b; fewer than 10 positives")
    assert "mean over" in rows.loc["macro", "reason"]


def test_every_data_set_is_compared(runs, make_tables):
    scores_a, scores_b, cohort = runs
    south, south_cohort = make_tables(dataset="south", n_patients=50)
    rows = paired_difference(
        pd.concat([scores_a, south]),
        pd.concat([south.assign(run_id="run-b"), scores_b]),
        pd.concat([cohort, south_cohort]),
        **OPTIONS,
    )
    assert rows.groupby("dataset").size().to_dict() == {"north": 6, "south": 6}
    assert (rows.loc[rows["dataset"] == "south", "value"] == 0).all()


def test_runs_on_different_images_are_refused(runs, make_tables):
    scores_a, scores_b, cohort = runs
    with pytest.raises(UserError, match="differ in images"):
        paired_difference(scores_a, scores_b.iloc[1:], cohort, **OPTIONS)
    with pytest.raises(UserError, match="differ in images"):
        paired_difference(scores_a, scores_b.assign(y_true=1 - scores_b["y_true"]), cohort, **OPTIONS)
    elsewhere, south_cohort = make_tables(dataset="south", run_id="run-b")
    with pytest.raises(UserError, match="same data sets"):
        paired_difference(scores_a, elsewhere, pd.concat([cohort, south_cohort]), **OPTIONS)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.02, 0.01, 0.03), "better"),
        ((-0.02, -0.03, -0.01), "worse"),
        ((0.02, -0.01, 0.05), "not distinguishable"),
        ((0.0, 0.0, 0.0), "not distinguishable"),
        ((float("nan"),) * 3, "not distinguishable"),
    ],
)
def test_verdict_needs_the_whole_interval_on_one_side(interval, verdict):
    assert verdict_of_interval(*interval) == verdict


def test_swapped_ends_are_refused():
    with pytest.raises(UserError, match="low"):
        verdict_of_interval(0.0, 0.1, -0.1)
