import math

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.evaluation.comparing.paired import over_seeds_of_draws
from dpcxr_core.evaluation.draws import Draws
from dpcxr_core.evaluation.transfer.drop import (
    ALL_ABROAD,
    drop_of_run,
    drops,
    measured_in_both,
    moved_by_initialisation,
    moved_by_privacy,
)

FINDINGS = ("atelectasis", "pneumonia", "macro")


def _draws(run_id, dataset, values, seed=0):
    """AUROC of two findings around ``values``, with their mean."""
    noise = np.random.default_rng([seed, *dataset.encode()]).normal(0, 0.01, (101, 2))
    noise[0] = 0
    aurocs = np.asarray(values) + noise
    aurocs = np.column_stack([aurocs, np.nanmean(aurocs, axis=1)])
    return Draws(
        run_id,
        dataset,
        FINDINGS,
        (("all", "all"),),
        {"auroc": aurocs[:, np.newaxis].astype(np.float32)},
        np.full((1, len(FINDINGS)), 500),
    )


def _study():
    """Privacy costs 0.02 at home and 0.05 abroad from "plain", the same at both from "rich"."""
    runs, draws = [], {}
    for label, extra in (("plain", 0.03), ("rich", 0.0)):
        for kind, epsilon in (("private", 1.0), ("non_private", math.nan)):
            for seed in (0, 1):
                run_id = f"{label}-{kind}-{seed}"
                lost = 0.02 if kind == "private" else 0.0
                more = extra if kind == "private" else 0.0
                runs.append((run_id, label, kind, epsilon, seed))
                draws[run_id] = {
                    "a": _draws(run_id, "a", [0.8 - lost, 0.7 - lost]),
                    "b": _draws(run_id, "b", [0.7 - lost - more, 0.6 - lost - more]),
                    "c": _draws(run_id, "c", [0.75 - lost - more, 0.65 - lost - more]),
                }
    return draws, pd.DataFrame(runs, columns=["run_id", "init_label", "kind", "target_epsilon", "seed"])


def test_a_drop_is_home_minus_the_mean_abroad_row_by_row():
    draws, _ = _study()
    run = draws["plain-private-0"]
    aurocs = {name: each.of("auroc", "macro", "all", "all").astype(float) for name, each in run.items()}
    expected = aurocs["a"] - (aurocs["b"] + aurocs["c"]) / 2
    np.testing.assert_allclose(drop_of_run(run, "a", ["b", "c"]), expected, atol=1e-6)


def test_macro_takes_the_findings_that_both_hospitals_measure():
    home, abroad = _draws("r", "a", [0.8, 0.9]), _draws("r", "b", [0.7, math.nan])
    assert measured_in_both(home, abroad) == ["atelectasis"]
    drop = drop_of_run({"a": home, "b": abroad}, "a", ["b"])
    assert drop[0] == pytest.approx(0.1)  # the two macro means differ by 0.15
    no_finding_left = {"a": _draws("r", "a", [math.nan, 0.9]), "b": abroad}
    assert np.isnan(drop_of_run(no_finding_left, "a", ["b"])).all()


def test_drops_have_a_row_a_condition_and_hospital_and_their_mean():
    draws, runs = _study()
    table = drops(draws, runs, "a", ["b", "c"])
    assert table["dataset"].unique().tolist() == ["b", "c", ALL_ABROAD]
    assert len(table) == 3 * 4
    row = table[(table["dataset"] == "b") & (table["init_label"] == "plain") & (table["kind"] == "private")].iloc[0]
    assert row["value"] == pytest.approx(0.13)
    assert row["low"] < 0.13 < row["high"]
    assert row["n_seeds"] == 2
    assert drops(draws, runs, "a", ["b"])["dataset"].unique().tolist() == ["b"]


def test_privacy_that_costs_more_abroad_enlarges_the_drop():
    draws, runs = _study()
    moved = moved_by_privacy(draws, runs, "a", ["b", "c"]).set_index("init_label")
    assert moved["value"].to_dict() == pytest.approx({"plain": 0.03, "rich": 0.0}, abs=1e-6)
    pair = [drop_of_run(draws[f"plain-{kind}-0"], "a", ["b", "c"]) for kind in ("private", "non_private")]
    assert moved.loc["plain", "low"] == pytest.approx(over_seeds_of_draws([pair[0] - pair[1]])["low"], abs=1e-6)
    assert (moved["p_adjusted"] >= moved["p"]).all()


def test_initialisations_are_compared_at_the_same_level_also_without_privacy():
    draws, runs = _study()
    moved = moved_by_initialisation(draws, runs, "a", ["b", "c"], "rich")
    assert moved["init_label"].unique().tolist() == ["plain"]
    assert moved.set_index("kind")["value"].to_dict() == pytest.approx({"private": 0.03, "non_private": 0.0}, abs=1e-6)


def test_without_a_hospital_abroad_every_table_is_empty():
    draws, runs = _study()
    tables = [drops(draws, runs, "a", []), moved_by_privacy(draws, runs, "a", [])]
    tables.append(moved_by_initialisation(draws, runs, "a", [], "rich"))
    assert [len(table) for table in tables] == [0, 0, 0]
    assert all("value" in table for table in tables)
