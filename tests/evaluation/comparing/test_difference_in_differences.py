import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.difference_in_differences import (
    Gap,
    changed_by_initialisation,
    gap_movements,
    with_and_without_privacy,
)
from dpcxr_core.evaluation.comparing.paired import CONTRAST_COLUMNS
from dpcxr_core.evaluation.draws import Draws

N_RESAMPLES = 200
GROUPS = (("sex", "F"), ("sex", "M"), ("age_band", "0-39"), ("age_band", "70+"))
SEX = Gap(metric="auroc", finding="macro", group_column="sex", minuend="F", subtrahend="M")
AGE = Gap(metric="tpr", finding="pneumonia", group_column="age_band", minuend="70+", subtrahend="0-39")


def _runs(labels=("a", "b"), epsilons=(1.0, 8.0), seeds=(0, 1, 2)):
    rows = [
        {"init_label": label, "kind": kind, "target_epsilon": epsilon, "seed": seed}
        for label in labels
        for kind, epsilon in [("non_private", math.nan), *(("private", epsilon) for epsilon in epsilons)]
        for seed in seeds
    ]
    rows.append({"init_label": "a", "kind": "public_only", "target_epsilon": math.nan, "seed": 0})
    return pd.DataFrame(rows).assign(run_id=[f"run-{row}" for row in range(len(rows))])


def _draws(runs, seed=0, n_patients=500):
    """Each run's metrics: random, but with much that all runs share on each resample."""
    rng = np.random.default_rng(seed)
    shape = (1 + N_RESAMPLES, len(GROUPS), 2)
    shared = rng.normal(scale=0.05, size=shape)
    return {
        run_id: Draws(
            run_id,
            "north",
            ("pneumonia", "macro"),
            GROUPS,
            {name: (0.7 + shared + rng.normal(scale=0.01, size=shape)).astype(np.float32) for name in ("auroc", "tpr")},
            np.full((len(GROUPS), 2), n_patients),
        )
        for run_id in runs["run_id"]
    }


def _gap(draws, gap):
    minuend, subtrahend = (
        draws.of(gap.metric, gap.finding, gap.group_column, group).astype(float)
        for group in (gap.minuend, gap.subtrahend)
    )
    return minuend - subtrahend


def _moved(runs, draws, gap, label, epsilon, seed):
    """Slow and obvious: look both runs up, subtract one gap from the other."""
    here = runs[(runs["init_label"] == label) & (runs["seed"] == seed)]
    private = here.loc[here["target_epsilon"] == epsilon, "run_id"].item()
    ordinary = here.loc[here["kind"] == "non_private", "run_id"].item()
    return _gap(draws[private], gap) - _gap(draws[ordinary], gap)


def test_private_runs_stand_beside_the_run_without_privacy_of_their_seed():
    runs = _runs()
    runs = runs.drop(
        index=runs[(runs["init_label"] == "b") & (runs["kind"] == "non_private") & (runs["seed"] == 2)].index
    )
    pairs = with_and_without_privacy(runs)
    assert len(pairs) == 2 * 3 + 2 * 2
    joined = pairs.merge(runs, left_on="run_id_without", right_on="run_id", suffixes=("", "_other"))
    assert (joined["kind"] == "non_private").all()
    assert (joined["seed"] == joined["seed_other"]).all()
    assert (joined["init_label"] == joined["init_label_other"]).all()


def test_what_privacy_moves_is_the_difference_of_both_gaps_over_seeds():
    runs = _runs()
    draws = _draws(runs)
    table = gap_movements(draws, runs, [SEX, AGE])
    assert len(table) == 2 * 2 * 2
    assert set(CONTRAST_COLUMNS) < set(table)
    for gap in (SEX, AGE):
        row = table.query("init_label == 'b' and target_epsilon == 8 and metric == @gap.metric").iloc[0]
        assert [row["group_column"], row["minuend"], row["subtrahend"]] == [
            gap.group_column,
            gap.minuend,
            gap.subtrahend,
        ]
        by_seed = np.array([_moved(runs, draws, gap, "b", 8.0, seed) for seed in range(3)])
        assert row["value"] == pytest.approx(by_seed[:, 0].mean(), abs=1e-9)
        assert row["gap_with"] - row["gap_without"] == pytest.approx(row["value"], abs=1e-9)
        assert row["seed_sd"] == pytest.approx(by_seed[:, 0].std(ddof=1))
        assert [row["low"], row["high"]] == pytest.approx(np.quantile(by_seed.mean(axis=0)[1:], [0.025, 0.975]))


def test_what_the_initialisation_changes_is_the_difference_of_two_such():
    runs = _runs()
    draws = _draws(runs)
    table = changed_by_initialisation(draws, runs, [SEX], reference="a")
    assert table["init_label"].to_list() == ["b", "b"]
    row = table[table["target_epsilon"] == 1].iloc[0]
    by_seed = np.array(
        [_moved(runs, draws, SEX, "b", 1, seed) - _moved(runs, draws, SEX, "a", 1, seed) for seed in range(3)]
    )
    assert row["value"] == pytest.approx(by_seed[:, 0].mean(), abs=1e-9)
    assert row["se_sampling"] == pytest.approx(by_seed.mean(axis=0)[1:].std(ddof=1))


def test_runs_on_the_same_resamples_leave_less_to_chance_than_a_gap_alone():
    """The wrong version would add the errors of four gaps as if they had met other patients."""
    runs = _runs()
    draws = _draws(runs)
    row = changed_by_initialisation(draws, runs, [SEX], reference="a").iloc[0]
    alone = np.sqrt(sum(_gap(draws[run_id], SEX)[1:].var() for run_id in runs["run_id"].iloc[:4]))
    assert row["se_sampling"] < 0.5 * alone


def test_gaps_that_are_alike_with_and_without_privacy_have_not_moved():
    runs = _runs()
    draws = _draws(runs.iloc[:1])
    same = dict.fromkeys(runs["run_id"], draws["run-0"])
    table = gap_movements(same, runs, [SEX])
    assert (table["value"] == 0).all()
    assert table[["low", "high"]].isna().all(axis=None)  # all resamples agree, which is no interval
    assert (table["p"] == 1).all()
    assert (table["gap_with"] == table["gap_without"]).all()


def test_a_gap_that_cannot_be_measured_is_undefined():
    runs = _runs()
    draws = _draws(runs)
    for each in draws.values():
        each.values["auroc"][:, 0] = math.nan
    table = gap_movements(draws, runs, [SEX])
    assert table[["value", "p", "gap_with"]].isna().all(axis=None)
    assert (table["reason"] == "undefined").all()


def test_what_cannot_be_compared_is_named():
    runs = _runs()
    private = runs[runs["kind"] == "private"]
    with pytest.raises(UserError, match="no private run"):
        gap_movements(_draws(runs), private, [SEX])
    with pytest.raises(UserError, match="'c' has no runs"):
        changed_by_initialisation(_draws(runs), runs, [SEX], reference="c")


def test_gaps_of_few_patients_are_tested_by_students_t():
    """With ten patients of a class, how far they scatter is itself uncertain: nine degrees of freedom."""
    runs = _runs().query("seed == 0")
    for ask in (gap_movements, partial(changed_by_initialisation, reference="a")):
        row = ask(_draws(runs, n_patients=10), runs, [SEX]).iloc[0]
        size = abs(row["value"]) / row["se_sampling"]
        assert row["p"] == pytest.approx(2 * t.sf(size, 9))
        many = ask(_draws(runs, n_patients=1_000_000), runs, [SEX]).iloc[0]
        assert many["p"] == pytest.approx(2 * norm.sf(size), rel=1e-3)
        assert many["p"] < row["p"]
