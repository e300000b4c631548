import math

import numpy as np
import pytest

from dpcxr_core.evaluation.comparing.gap_differences import gap_difference
from dpcxr_core.study import claim_contrasts
from dpcxr_core.study.scored_cells import auroc_of
from tests.study.conftest import cells_frame

ROLES = {"supervised": "imagenet", "self_supervised": "dino", "domain": "mimic"}


@pytest.fixture
def scored(study_of):
    rows = [
        {"initialisation": name, "target_epsilon": level, "gap": gap, "auroc": auroc}
        for name, auroc, gap in (("imagenet", 0.7, 0.2), ("dino", 0.8, 0.1), ("mimic", 0.9, 0.0))
        for level in (8.0, math.inf)
    ]
    own_head = {"initialisation": "mimic", "target_epsilon": 8.0, "head": "kept"}
    scaled = [{**row, "fraction": 0.5, "grids": "scale"} for row in rows]
    other = [{**row, "architecture": "tiny", "grids": "capacity"} for row in rows]
    return study_of(cells_frame(*rows, own_head, *scaled, *other))


def _auroc(scored, initialisation, level=8.0, hospital="north", **other):
    wanted = {"initialisation": initialisation, "target_epsilon": level, "head": "reset", "grids": "main", **other}
    cells = scored.cells[(scored.cells[list(wanted)] == wanted).all(axis="columns")]
    return auroc_of(scored.draws[cells["run_id"].item()][hospital])


def _measured(contrast):
    """The draws of the only regime and seed of a contrast."""
    (row,) = contrast.seeds.to_dict("records")
    draws, _ = contrast.measure(row)
    return draws


def test_claims_1_and_5_subtract_supervised_at_home_and_abroad(scored):
    for contrasts, hospital in (
        (claim_contrasts.self_supervised_at_home, "north"),
        (claim_contrasts.self_supervised_abroad, "abroad"),
    ):
        (contrast,) = contrasts(scored, ROLES)
        expected = _auroc(scored, "dino", hospital=hospital) - _auroc(scored, "imagenet", hospital=hospital)
        np.testing.assert_allclose(_measured(contrast), expected, atol=1e-9)
        assert contrast.seeds[claim_contrasts.REGIME].iloc[0].to_list() == ["north", "small", "image", 1.0, 8.0]


def test_claim_2_compares_domain_weights_and_what_privacy_costs(scored):
    at_home, *costs = claim_contrasts.domain_at_home(scored, ROLES)
    np.testing.assert_allclose(_measured(at_home), _auroc(scored, "mimic") - _auroc(scored, "dino"), atol=1e-9)

    def cost(initialisation):
        return _auroc(scored, initialisation, math.inf) - _auroc(scored, initialisation)

    for contrast, other in zip(costs, ("imagenet", "dino"), strict=True):
        np.testing.assert_allclose(_measured(contrast), cost(other) - cost("mimic"), atol=1e-9)


def test_claims_3_and_4_subtract_the_gaps_of_self_supervised_runs(scored):
    contrasts = [
        *claim_contrasts.gap_between_ages(scored, ROLES),
        *claim_contrasts.gaps_between_groups(scored, ROLES),
    ]
    assert len(contrasts) == 1 + 4 * 2
    for contrast in contrasts:
        metric, _, column = contrast.part.partition(" by ")
        (row,) = contrast.seeds.to_dict("records")
        runs = [scored.at_home(row[role], "north") for role in ("supervised", "self_supervised")]
        expected, floors = gap_difference(*runs, metric, column)
        draws, explained = contrast.measure(row)
        np.testing.assert_allclose(draws, expected)
        assert explained == floors
        assert 0 < draws[0] < 0.3


def test_gaps_know_how_few_patients_the_smallest_group_has_and_comparisons_of_all_do_not_ask(scored):
    for of_run in scored.draws.values():
        for draws in of_run.values():
            draws.n_patients[draws.groups.index(("age_band", "70+"))] = 30
            draws.n_patients[draws.groups.index(("sex", "M"))] = 40
    fewest = {}
    for contrast in claim_contrasts.gaps_between_groups(scored, ROLES):
        (row,) = contrast.seeds.to_dict("records")
        fewest[contrast.part] = contrast.degrees(row)
    assert fewest["tpr_difference by sex"] == 39
    assert fewest["tpr_difference by age_band"] == 29
    (at_home,) = claim_contrasts.self_supervised_at_home(scored, ROLES)
    assert at_home.degrees(at_home.seeds.to_dict("records")[0]) == math.inf


def test_claim_6_subtracts_gains_of_neighbours(scored):
    contrasts = claim_contrasts.gains_by_initialisation(scored, ROLES)
    assert [contrast.part for contrast in contrasts] == ["data", "data", "capacity", "capacity"]
    for contrast, (better, worse) in zip(contrasts, 2 * [("dino", "imagenet"), ("mimic", "dino")], strict=True):

        def gain(initialisation, part=contrast.part):
            if part == "data":  # with one doubling, the slope is the difference
                half = _auroc(scored, initialisation, grids="scale", fraction=0.5)
                return _auroc(scored, initialisation) - half
            return _auroc(scored, initialisation, grids="capacity") - _auroc(scored, initialisation)

        assert contrast.seeds["target_epsilon"].to_list() == [8.0]  # with privacy, though the same ran without
        np.testing.assert_allclose(_measured(contrast), gain(better) - gain(worse), atol=1e-9)


def test_claim_6_has_a_row_for_what_is_planned_and_did_not_run(study_of):
    rows = [
        {**row, "initialisation": name, "target_epsilon": level, "has_run": level == 8.0 or "fraction" not in row}
        for name in ROLES.values()
        for level in (1.0, 8.0)
        for row in ({}, {"fraction": 0.5, "grids": "scale"})
    ]
    with_data, *_ = claim_contrasts.gains_by_initialisation(study_of(cells_frame(*rows)), ROLES)
    (need,) = with_data.needs
    assert dict(zip(with_data.seeds["target_epsilon"], with_data.seeds[need].isna(), strict=True)) == {
        1.0: True,
        8.0: False,
    }


def test_what_a_seed_needs_is_none_where_it_is_not_there(scored):
    truth = scored.cells["initialisation"] != "imagenet"
    without = type(scored)(scored.cells[truth], scored.draws, scored.home, {"north": ()})
    (at_home,) = claim_contrasts.self_supervised_at_home(without, ROLES)
    assert at_home.seeds["supervised"].isna().all()
    assert at_home.seeds["self_supervised"].notna().all()
    (abroad,) = claim_contrasts.self_supervised_abroad(without, ROLES)
    assert abroad.seeds["other hospitals"].isna().all()
    no_groups = type(scored)(scored.cells, {}, scored.home, scored.abroad)
    (ages,) = claim_contrasts.gap_between_ages(no_groups, ROLES)
    assert ages.seeds["groups by age_band"].isna().all()
