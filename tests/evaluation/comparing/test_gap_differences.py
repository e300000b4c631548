import math

import numpy as np
import pytest

from dpcxr_core.config import FINDINGS as ALL_FINDINGS
from dpcxr_core.config import EvaluationChoice, UserError
from dpcxr_core.evaluation.comparing.gap_differences import (
    GAPS_OF_DRAWS,
    gap_difference,
    gap_of_draws,
    less_unequal_noise,
)
from dpcxr_core.evaluation.comparing.gaps import gap_rows, range_rows
from dpcxr_core.evaluation.comparing.paired import over_seeds_of_draws
from dpcxr_core.evaluation.draws import Draws, draws_of_columns
from dpcxr_core.evaluation.evaluate import grouped_metrics
from dpcxr_core.evaluation.scored_images import scored_images, shared_resamples

BANDS = (("age_band", "0-39"), ("age_band", "40-69"), ("age_band", "70+"))
FINDINGS = ("pneumonia", "no_finding", "macro")
FIVE = ("a", "b", "c", "d", "e", "macro")
N_RESAMPLES = 100


def _draws(values, run_id="run-a", findings=FINDINGS):
    """Draws by metric, from ``(1 + n_resamples, 3 bands, n_findings)``; beside the bands there is the whole."""
    whole = {
        metric: np.concatenate([each[:, :1], each], axis=1).astype(np.float32)
        for metric, each in {
            name: np.append(each, each.mean(axis=2, keepdims=True), 2) for name, each in values.items()
        }.items()
    }
    return Draws(
        run_id, "north", findings, (("all", "all"), *BANDS), whole, np.full((1 + len(BANDS), len(findings)), 500)
    )


def _rates(rng, names=("auroc", "tpr", "fpr", "selection_rate")):
    return {name: rng.uniform(0.2, 0.9, size=(1 + N_RESAMPLES, 3, 2)) for name in names}


def test_gaps_are_those_of_their_definitions():
    rates = _rates(np.random.default_rng(0))
    draws = _draws(rates)
    tpr, fpr = (np.ptp(rates[name], axis=1) for name in ("tpr", "fpr"))
    expected = {
        "auroc_range": np.ptp(rates["auroc"].mean(axis=2), axis=1),  # of macro means
        "equalized_odds_difference": np.maximum(tpr, fpr).mean(axis=1),
        "equalized_odds_difference_mean": ((tpr + fpr) / 2).mean(axis=1),
        "tpr_difference": tpr.mean(axis=1),
        "selection_rate_difference": np.ptp(rates["selection_rate"], axis=1).mean(axis=1),
    }
    for metric, gap in expected.items():
        found, floor = gap_of_draws(draws, metric, "age_band")
        np.testing.assert_allclose(found, gap, atol=1e-6)
        assert 0 < floor < 1


def test_value_and_noise_floor_are_those_of_the_metrics_table(make_tables):
    choice = EvaluationChoice(n_resamples=30, group_columns=("age_band",))
    scores, cohort = make_tables()
    young = scores["image_id"].map(cohort.set_index("image_id")["age_years"] < 40)
    scores["y_true"] = scores["y_true"].mask(young & (scores["finding"] == "pneumonia"), 0.0)
    (images,) = scored_images(scores, cohort, choice)
    columns = grouped_metrics(images, shared_resamples(images, choice), choice, dict.fromkeys(ALL_FINDINGS, 0.5))
    draws = draws_of_columns(images.run_id, images.dataset, columns)
    of_ages = columns[-1]
    rows = {row["metric"]: row for row in range_rows(of_ages["auroc"]) + gap_rows(of_ages) if row["finding"] == "macro"}
    for metric in GAPS_OF_DRAWS:
        found, floor = gap_of_draws(draws, metric, "age_band")
        assert (found[0], floor) == pytest.approx((rows[metric]["value"], rows[metric]["noise_floor"]), abs=1e-6)


def test_a_finding_that_one_group_lacks_is_in_no_gap_and_a_group_without_any_is_not_compared():
    rates = _rates(np.random.default_rng(0))
    for each in rates.values():
        each[:, 1, 0] = math.nan
    tpr, fpr = (np.ptp(rates[name][:, :, 1], axis=1) for name in ("tpr", "fpr"))
    found, _ = gap_of_draws(_draws(rates), "equalized_odds_difference", "age_band")
    np.testing.assert_allclose(found, np.maximum(tpr, fpr), atol=1e-6)
    for each in rates.values():
        each[:, 1, 1] = math.nan
    tpr, fpr = (np.ptp(rates[name][:, [0, 2]], axis=1) for name in ("tpr", "fpr"))
    found, _ = gap_of_draws(_draws(rates), "equalized_odds_difference", "age_band")
    np.testing.assert_allclose(found, np.maximum(tpr, fpr).mean(axis=1), atol=1e-6)
    for each in rates.values():
        each[:, 2] = math.nan
    found, floor = gap_of_draws(_draws(rates), "equalized_odds_difference", "age_band")
    assert np.isnan(found).all()
    assert math.isnan(floor)


def test_resampled_differences_lie_around_that_of_the_data():
    a, b = (_draws(_rates(np.random.default_rng(seed)), f"run-{seed}") for seed in (0, 1))
    difference, floors = gap_difference(a, b, "auroc_range", "age_band")
    (ours, our_floor), (theirs, their_floor) = (gap_of_draws(run, "auroc_range", "age_band") for run in (a, b))
    assert difference[0] == pytest.approx(ours[0] - theirs[0])
    assert difference[1:].mean() == pytest.approx(difference[0])
    np.testing.assert_allclose(np.diff(difference[1:]), np.diff((ours - theirs)[1:]), atol=1e-9)
    assert floors == pytest.approx(our_floor - their_floor)


@pytest.mark.parametrize(
    ("value", "explained", "left"),
    [
        (0.10, 0.03, 0.07),
        (0.10, -0.03, 0.10),
        (0.02, 0.03, 0),
        (-0.10, -0.03, -0.07),
        (-0.02, 0.03, -0.02),
        (0.1, 0, 0.1),
    ],
)
def test_noise_explains_a_difference_towards_the_noisier_run_and_no_more(value, explained, left):
    differences = value + np.array([[0, 0.01, -0.01], [0.002, 0.02, 0], [-0.002, 0, 0.03]])
    found = less_unequal_noise(differences, [explained] * 3)
    assert found[:, 0].mean() == pytest.approx(left)
    np.testing.assert_allclose(found - found[:, :1], differences - differences[:, :1])


def test_unknown_gaps_and_columns_are_named():
    draws = _draws(_rates(np.random.default_rng(0)))
    with pytest.raises(UserError, match="'ece'"):
        gap_of_draws(draws, "ece", "age_band")
    with pytest.raises(UserError, match="no groups of 'sex'"):
        gap_of_draws(draws, "auroc_range", "sex")


def _measured(rng, groups, error):
    """Draws of TPR and FPR of five findings whose truth is ``groups``, on the data and on resamples."""
    rates = {}
    for name in ("auroc", "tpr", "fpr"):
        on_the_data = groups[:, np.newaxis] + error * rng.normal(size=(3, 5))
        resampled = on_the_data + error * rng.normal(size=(N_RESAMPLES, 3, 5))
        rates[name] = np.concatenate([on_the_data[np.newaxis], resampled])
    return _draws(rates, findings=FIVE)


@pytest.mark.parametrize(("gap", "wrong"), [(0, "as they are"), (0.4, "less all of it")])
def test_equal_gaps_measured_with_unequal_noise_are_told_apart_in_at_most_5_percent(gap, wrong):
    """200 pairs of runs; wrong are gaps as they are where there is none, and less all their noise where it is large."""
    rng, n_pairs = np.random.default_rng(20260101), 200
    groups = 0.5 + gap * np.array([-0.5, 0, 0.5])
    called = {"less noise": 0, "as they are": 0, "less all of it": 0}
    for _ in range(n_pairs):
        noisy, steady = (_measured(rng, groups, error) for error in (0.04, 0.005))
        difference, floors = gap_difference(noisy, steady, "equalized_odds_difference", "age_band")
        tested = {"as they are": difference, "less all of it": difference - floors}
        tested["less noise"] = less_unequal_noise(difference[np.newaxis], [floors])[0]
        for name, each in tested.items():
            called[name] += over_seeds_of_draws(each[np.newaxis])["p"] <= 0.05
    z = {name: (n / n_pairs - 0.05) / math.sqrt(0.05 * 0.95 / n_pairs) for name, n in called.items()}
    assert z["less noise"] < 5 < z[wrong]
