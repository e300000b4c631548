import math
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import spearmanr

from dpcxr_core.data.manifests import MANIFESTS, names_of_our_sets
from dpcxr_core.study.scored_cells import ScoredCells
from dpcxr_core.study.sister import agreement, beside_published, our_matrix, published_drops, published_matrix
from tests.study.conftest import OFF, cells_frame

HOSPITALS = ("vindr_cxr", "chestxray14", "chexpert", "uka_cxr", "padchest")


def _ours(hospitals=HOSPITALS, level="0 < epsilon < 1", epsilon=1.0):
    """Our matrix, were it the published one."""
    published = published_matrix().query("level == @level")
    inside = published["train_dataset"].isin(hospitals) & published["dataset"].isin(hospitals)
    kept = published.loc[inside, ["train_dataset", "dataset", "auroc"]].rename(columns={"auroc": "value"})
    return kept.assign(architecture="small", target_epsilon=epsilon, n_findings=5).reset_index(drop=True)


def test_published_matrix_is_whole_and_names_our_sets():
    published = published_matrix()
    assert len(published) == 4 * 5 * 5
    assert not published.duplicated(["level", "train_dataset", "dataset"]).any()
    assert set(published["train_dataset"]) == set(published["dataset"]) == set(HOSPITALS) <= set(names_of_our_sets())
    assert published["auroc"].between(0.5, 1).all()
    at_home = published[published["train_dataset"] == published["dataset"]].set_index(["level", "dataset"])["auroc"]
    assert at_home["without privacy"].to_dict() == {
        **{"vindr_cxr": 0.94, "chestxray14": 0.78, "chexpert": 0.82, "uka_cxr": 0.88, "padchest": 0.89}
    }


def test_cell_that_is_printed_twice_says_so():
    twice = published_matrix().dropna(subset="other_reading")
    assert twice[["level", "train_dataset", "dataset", "auroc", "other_reading"]].to_numpy().tolist() == [
        ["3.5 < epsilon < 10", "padchest", "padchest", 0.89, 0.86]
    ]
    assert "source" in yaml.safe_load((MANIFESTS / "sister_study.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("epsilon", "level"),
    [
        *((1.0, "0 < epsilon < 1"), (1.5, None), (3.0, "2 < epsilon < 3.5"), (8.0, "3.5 < epsilon < 10")),
        *((11.0, None), (math.inf, "without privacy")),
    ],
)
def test_cells_stand_beside_the_range_that_their_epsilon_lies_in(epsilon, level):
    both = beside_published(_ours(epsilon=epsilon))
    assert set(both["level"]) == ({level} if level else set())
    assert len(both) == (25 if level else 0)


def test_a_matrix_agrees_with_itself_and_only_in_the_order_that_it_has():
    found = agreement(_ours()).iloc[0]
    assert (found["level"], found["n_hospitals"], found["reason"]) == ("0 < epsilon < 1", 5, "")
    assert found["rank_correlation"] == pytest.approx(1)
    assert found["p"] == pytest.approx(1 / 120)
    assert found["published_drop"] == pytest.approx(found["our_drop"])
    assert found["our_drop"] == pytest.approx(
        np.mean([0.89, 0.74, 0.79, 0.84, 0.84]) - _ours().query("train_dataset != dataset")["value"].mean()
    )


def test_published_models_lose_no_more_abroad_with_privacy_than_without():
    drops = published_drops().set_index("level")["published_drop"]
    assert drops["0 < epsilon < 1"] == pytest.approx(4.10 / 5 - 15.35 / 20)  # sums of its cells at home and abroad
    assert drops.is_monotonic_increasing
    assert drops["without privacy"] < 0.1


def test_p_is_the_share_of_orders_of_hospitals_that_agree_as_well():
    ours = _ours(HOSPITALS[:4])
    rng = np.random.default_rng(0)
    ours["value"] = rng.uniform(0.5, 1, len(ours))
    found = agreement(ours).iloc[0]
    published = _ours(HOSPITALS[:4]).pivot(index="train_dataset", columns="dataset", values="value")
    matrix = ours.pivot(index="train_dataset", columns="dataset", values="value")

    def agrees(order):
        names = [published.index[place] for place in order]
        return spearmanr(published.to_numpy().ravel(), matrix.loc[names, names].to_numpy().ravel()).statistic

    correlations = [agrees(order) for order in permutations(range(4))]
    assert found["rank_correlation"] == pytest.approx(correlations[0])
    assert found["p"] == pytest.approx(np.mean(np.array(correlations) >= correlations[0] - 1e-12))


def test_matrices_that_agree_by_chance_rarely_have_a_p_below_5_percent():
    """60 matrices of hospitals that are easy or hard by chance; wrong is the p of independent cells."""
    rng, n_studies, published = np.random.default_rng(20260101), 60, _ours()
    at_home = (published["train_dataset"] == published["dataset"]).to_numpy()
    tested_on = pd.factorize(published["dataset"])[0]
    called = {"stated": 0, "independent cells": 0}
    for _ in range(n_studies):
        ours = published.assign(value=0.7 + 0.03 * at_home + 0.06 * rng.normal(size=5)[tested_on])
        called["stated"] += agreement(ours)["p"].iloc[0] <= 0.05
        called["independent cells"] += spearmanr(published["value"], ours["value"]).pvalue <= 0.05
    z = {name: (n / n_studies - 0.05) / math.sqrt(0.05 * 0.95 / n_studies) for name, n in called.items()}
    assert z["stated"] < 5 < z["independent cells"]


@pytest.mark.parametrize(
    ("hospitals", "n_hospitals", "reason"),
    [
        (HOSPITALS[:3], 3, "fewer than 4 hospitals: too few to rank"),
        (HOSPITALS[:1], 1, "one hospital has no cell abroad"),
        ((), 0, "nothing is comparable: no hospital of theirs"),
    ],
)
def test_few_hospitals_are_not_ranked(hospitals, n_hospitals, reason):
    found = agreement(_ours(hospitals)).iloc[0]
    assert (found["n_hospitals"], found["reason"]) == (n_hospitals, reason)
    assert math.isnan(found["rank_correlation"])
    assert math.isnan(found["our_drop"]) == (n_hospitals < 2)


def test_a_missing_cell_is_named():
    assert agreement(_ours().drop(index=3)).iloc[0]["reason"] == "cells are missing"


def test_means_over_fewer_findings_are_compared_with_a_note():
    ours = _ours()
    ours.loc[3, "n_findings"] = 4
    found = agreement(ours).iloc[0]
    assert found["reason"] == "some of our means are over fewer than their 5 findings"
    assert found["rank_correlation"] == pytest.approx(1)


def test_our_matrix_is_every_models_auroc_in_every_hospital(study_of):
    scored = study_of(
        cells_frame(
            {"initialisation": "mimic", "auroc": 0.8, "abroad": 0.6},
            {"initialisation": "dino"},
            {"initialisation": "mimic", "unit": "patient"},
            dataset=("padchest", "north"),
            seed=(0, 1, 2),
            target_epsilon=(8.0,),
        ),
        patients=0,
    )
    home = {"padchest": "padchest-private", "north": "north"}
    draws = {
        run_id: {home.get(name, name): each for name, each in of_run.items()} for run_id, of_run in scored.draws.items()
    }
    scored = ScoredCells(scored.cells, draws, home, scored.abroad)
    ours = our_matrix(scored, "mimic")
    assert ours[["train_dataset", "dataset"]].to_numpy().tolist() == [
        *(["padchest", "padchest"], ["padchest", "abroad"], ["north", "north"], ["north", "abroad"])
    ]
    assert ours["value"].to_list() == pytest.approx([0.8, 0.6] * 2, abs=OFF)
    assert (ours["n_seeds"] == 3).all()
    assert (ours["n_findings"] == 1).all()
    assert beside_published(ours)["dataset"].to_list() == ["padchest"]


def test_simulated_hospitals_have_nothing_to_compare(study_of):
    scored = study_of(cells_frame({"initialisation": "domain"}, target_epsilon=(1.0, 8.0)))
    ours = our_matrix(scored, "domain")
    assert len(ours) == 4
    assert beside_published(ours).empty
    found = agreement(ours)
    assert found["reason"].to_list() == ["nothing is comparable: no hospital of theirs"] * 4
    of_another = our_matrix(scored, "another")
    assert of_another.empty
    assert agreement(of_another)["reason"].to_list() == found["reason"].to_list()
