import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from dpcxr_core.evaluation.statistics.auroc import auroc
from dpcxr_core.evaluation.transfer.case_mix import PARTS, at_home_case_mix, case_mix_cells

EASY, HARD = "PA, F, 0-39", "AP, M, 70+"


def _mixed(make_resampled, *, n, share_hard, seed, n_resamples=100, label_signal=(2.0, 0.5)):
    """A hospital whose AP images are harder: its AUROC depends on how many it takes."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n) < share_hard
    y_true = (rng.random(n) < 0.3).astype(float)
    logits = np.where(hard, label_signal[1], label_signal[0]) * y_true + rng.normal(size=n)
    cells = np.where(hard, HARD, EASY).astype(object)
    return make_resampled(y_true, expit(logits), case_mix=cells, n_resamples=n_resamples, seed=seed)


def test_cells_cross_view_sex_and_age_and_need_all_three():
    cohort = pd.DataFrame(
        {"view": ["PA", "AP", None, "PA"], "sex": ["F", "M", "F", None], "age_years": [30.0, 80.0, 50.0, np.nan]},
        index=[4, 3, 2, 1],
    )
    assert case_mix_cells(cohort, (0, 40, 70, 120)).tolist() == ["PA, F, 0-39", "AP, M, 70+", None, None]


def test_a_hospital_that_differs_by_its_case_mix_alone_has_nothing_left_over(make_resampled):
    home = _mixed(make_resampled, n=30_000, share_hard=0.2, seed=1)
    abroad = _mixed(make_resampled, n=30_000, share_hard=0.8, seed=2)
    draws, covered = at_home_case_mix(home, abroad)

    def z(part):
        return draws[part][0] / draws[part][1:].std()

    assert covered == 1
    assert abs(z("left over")) < 5
    assert z("from case mix") > 5
    raw = draws["at home"] - draws["abroad"]
    assert raw[0] / raw[1:].std() > 5  # the mistake this module exists for: blaming the hospital for its patients
    np.testing.assert_allclose(draws["from case mix"] + draws["left over"], raw, atol=1e-12)


def test_it_is_the_auroc_of_images_weighted_to_the_mix_of_home(make_resampled):
    home = _mixed(make_resampled, n=300, share_hard=0.25, seed=1, n_resamples=5)
    abroad = _mixed(make_resampled, n=200, share_hard=0.6, seed=2, n_resamples=5)
    draws, _ = at_home_case_mix(home, abroad)
    for row in range(6):

        def share(scores, cell, row=row):
            return np.average(scores.case_mix == cell, weights=scores.weights[row])

        factor = {cell: share(home, cell) / share(abroad, cell) for cell in (EASY, HARD)}
        weights = abroad.weights[row] * np.array([factor[cell] for cell in abroad.case_mix])
        expected = auroc(abroad.y_true, abroad.y_score, weights)
        assert draws["abroad, mix of home"][row] == pytest.approx(expected, abs=1e-12)


def test_cells_without_counterpart_leave_both_hospitals(make_resampled):
    home = _mixed(make_resampled, n=400, share_hard=0.25, seed=1)
    abroad = _mixed(make_resampled, n=300, share_hard=0.0, seed=2)
    draws, covered = at_home_case_mix(home, abroad)
    easy = home.case_mix == EASY
    assert covered == pytest.approx(easy.mean())
    assert draws["at home"][0] == pytest.approx(auroc(home.y_true[easy], home.y_score[easy]))
    np.testing.assert_allclose(draws["from case mix"], 0, atol=1e-12)


def test_no_case_mix_in_common_is_undefined(make_resampled):
    home = _mixed(make_resampled, n=400, share_hard=0.0, seed=1)
    abroad = _mixed(make_resampled, n=300, share_hard=1.0, seed=2)
    draws, covered = at_home_case_mix(home, abroad)
    assert tuple(draws) == PARTS
    assert all(np.isnan(each).all() and each.size == 101 for each in draws.values())
    assert covered == 0
