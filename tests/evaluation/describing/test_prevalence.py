import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from dpcxr_core.config import FINDINGS
from dpcxr_core.evaluation.describing import prevalence
from dpcxr_core.evaluation.resampling.patients import resamples_of, weighted_sums


def _cohort(n=2000, images_each=4, seed=0):
    """Labels of a patient agree three times in four; sex is missing in the sickest, age at random."""
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // images_each
    ill = rng.random(n // images_each) < 0.3
    table = pd.DataFrame(
        {
            "patient_id": [f"p{each}" for each in patient],
            "view": np.where(rng.random(n) < 0.5, "AP", "PA"),
            "sex": np.where(rng.random(n) < 0.5, "F", "M"),
            "age_years": np.where(rng.random(n) < 0.4, np.nan, 50.0),
        }
    )
    for finding in FINDINGS:
        table[finding] = np.where(rng.random(n) < 0.75, ill[patient], rng.random(n) < 0.3).astype(float)
    table["sex"] = table["sex"].where(~(ill[patient] & (rng.random(n) < 0.7)), None)
    return table


@settings(derandomize=True, deadline=None)
@given(positive=st.integers(0, 60), others=st.integers(1, 60))
def test_one_image_a_patient_gives_wilsons_interval(positive, others):
    n = positive + others
    value, low, high = prevalence.clustered_share([1] * positive + [0] * others, range(n))
    expected = binomtest(positive, n).proportion_ci(method="wilson")
    assert (value, low, high) == pytest.approx((positive / n, expected.low, expected.high), abs=1e-12)


@settings(derandomize=True, deadline=None)
@given(patients=st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=30))
@example(patients=[[True, False]] * 98 + [[True, True], [False, False]])
@example(patients=[[True, False]] * 20)
def test_writing_every_image_twice_changes_nothing_where_patients_agree_with_themselves(patients):
    labels = np.array([label for images in patients for label in images], dtype=float)
    ids = np.repeat(np.arange(len(patients)), [len(images) for images in patients])
    once = prevalence.clustered_share(labels, ids)
    twice = prevalence.clustered_share(np.tile(labels, 2), np.tile(ids, 2))
    of_images = binomtest(int(labels.sum()), len(labels)).proportion_ci(method="wilson")
    # an image never counts as more than one
    assert once[1] <= of_images.low + 1e-12
    assert once[2] >= of_images.high - 1e-12
    if once[2] - once[1] > of_images.high - of_images.low + 1e-9:
        assert twice == pytest.approx(once, abs=1e-12)
    else:  # images of one patient agree less often than chance would have it, or as often
        assert twice[1] >= once[1] - 1e-12
        assert twice[2] <= once[2] + 1e-12


def test_interval_agrees_with_the_bootstrap_of_patients_and_not_with_that_of_images():
    table = _cohort()
    _, low, high = prevalence.clustered_share(table["pneumonia"], table["patient_id"])
    resamples = resamples_of(table["patient_id"], np.zeros(len(table)), 4000, np.random.default_rng(1))
    n_positive, n_images = weighted_sums(resamples, table.assign(one=1)[["pneumonia", "one"]].to_numpy())[1:].T
    drawn = n_positive / n_images
    # 4,000 resamples place an end to about a thirtieth of the width; Wilson shifts it by less than that again
    assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.1 * (high - low))
    _, low_by_image, high_by_image = prevalence.clustered_share(table["pneumonia"], range(len(table)))
    assert high - low > 1.3 * (high_by_image - low_by_image)


def test_share_of_none_or_all_counts_each_patient_once():
    low_high = prevalence.clustered_share([0] * 30, np.arange(30) // 3)[1:]
    expected = binomtest(0, 10).proportion_ci(method="wilson")
    assert low_high == pytest.approx((0, expected.high), abs=1e-12)
    assert prevalence.clustered_share([1] * 30, np.arange(30) // 3)[1:] == pytest.approx((1 - expected.high, 1))


def test_rows_count_labelled_images_of_each_group():
    table = _cohort()
    table.loc[:99, "pneumonia"] = np.nan
    rows = prevalence.prevalence_by_group(table)
    one = rows.query("finding == 'pneumonia' and group_column == 'sex' and group_value == 'F'").iloc[0]
    chosen = table[(table["sex"] == "F") & table["pneumonia"].notna()]
    assert one["n"] == len(chosen)
    assert one["n_positive"] == chosen["pneumonia"].sum()
    assert one["patients"] == chosen["patient_id"].nunique()
    assert one["value"] == pytest.approx(chosen["pneumonia"].mean())
    assert one["low"] < one["value"] < one["high"]
    by_column = rows[rows["finding"] == "pneumonia"].groupby("group_column")["n"].sum()
    assert (by_column == 1900).all()  # what is not recorded is a group too
    assert set(rows.loc[rows["group_column"] == "age_band", "group_value"]) == {"40-69", "not recorded"}


def test_overall_rows_are_those_about_all_images():
    table = _cohort(200)
    rows = prevalence.prevalence_by_group(table)
    of_all = rows[rows["group_column"] == "all"].reset_index(drop=True)
    pd.testing.assert_frame_equal(prevalence.overall_prevalence(table), of_all)
    assert list(of_all["finding"]) == list(FINDINGS)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([np.nan] * 40, "no labels"),
        ([1.0] * 9 + [np.nan] * 31, "fewer than 10 patients"),
        ([1.0] * 9 + [0.0] * 31, "fewer than 10 patients with it"),
        ([0.0] * 9 + [1.0] * 31, "fewer than 10 patients without it"),
        ([0.0] * 40, ""),
        ([1.0] * 10 + [0.0] * 30, ""),
    ],
)
def test_few_patients_give_a_reason_and_no_number(labels, reason):
    table = _cohort(40, images_each=1).assign(pneumonia=labels)
    row = prevalence.prevalence_by_group(table).query("finding == 'pneumonia' and group_column == 'all'").iloc[0]
    assert row["reason"] == reason
    assert np.isnan(row["value"]) == bool(reason)
    assert np.isnan(row["low"]) == bool(reason)


def test_many_images_of_few_patients_are_few():
    table = _cohort(400, images_each=1)
    table["pneumonia"] = (np.arange(400) < 50).astype(float)
    table.loc[:49, "patient_id"] = "the same"
    row = prevalence.prevalence_by_group(table).query("finding == 'pneumonia' and group_column == 'all'").iloc[0]
    assert row["reason"] == "fewer than 10 patients with it"


def test_what_is_missing_in_the_ill_shows_and_what_is_missing_at_random_does_not():
    rows = prevalence.differences_where_missing(_cohort()).set_index(["column", "finding"])
    assert set(rows.index.get_level_values("column")) == {"sex", "age_years"}  # the view is always there
    assert (rows.loc["sex", "low"] > 0.3).all()
    assert (rows.loc["age_years", "value"].abs() < 0.08).all()  # a standard error is 0.02
    assert rows["value"].to_numpy() == pytest.approx((rows["missing"] - rows["recorded"]).to_numpy())


def test_differences_miss_zero_about_one_time_in_twenty_where_nothing_differs():
    missed = 0
    for seed in range(40):
        rows = prevalence.differences_where_missing(_cohort(600, seed=seed).assign(sex=None))
        missed += int(((rows["low"] > 0) | (rows["high"] < 0)).sum())
    # 200 intervals, 10 expected; findings of a cohort share their ill patients, so the count spreads more than binomial
    assert 1 <= missed <= 24


def test_difference_of_what_was_always_the_same_patients_needs_no_independence():
    patient = np.repeat(np.arange(100), 2)
    labels = np.repeat((np.arange(100) < 40).astype(float), 2)
    first = np.where(np.arange(200) % 2 == 0, labels, np.nan)
    second = np.where(np.arange(200) % 2 == 1, labels, np.nan)
    assert prevalence.clustered_difference(first, second, patient) == pytest.approx((0, 0, 0), abs=1e-12)


def test_differences_without_enough_patients_have_a_reason():
    table = _cohort(400, images_each=1).assign(age_years=[np.nan] * 5 + [50.0] * 395, sex="F")
    rows = prevalence.differences_where_missing(table)
    assert rows["reason"].str.startswith("missing: fewer than 10 patients").all()
    assert rows["value"].isna().all()
    nothing_missing = prevalence.differences_where_missing(table.assign(age_years=50.0))
    assert nothing_missing.empty
    assert "reason" in nothing_missing
