import math

import pytest

from dpcxr_core.planning.cells import cells_table
from dpcxr_core.planning.study_file import read_study
from dpcxr_core.study.ablating import ablations_table, without_main_cell
from dpcxr_core.study.verdicts import claims_table, verdict_per_claim
from tests.conftest import PROJECT
from tests.study.conftest import OFF, cells_frame

MAIN = {"initialisation": "domain", "auroc": 0.80, "recipe_optimizer": "sgd", "mechanism_n_steps": 24}


def _study(*ablations):
    main = [{**MAIN, "architecture": network} for network in ("small", "tiny")]
    rows = [*main, *({**MAIN, "architecture": "small", **each} for each in ablations)]
    return cells_frame(*rows, seed=(0, 1, 2), target_epsilon=(8.0,))


def test_each_ablation_stands_against_the_main_cell_that_it_changes(study_of):
    table = ablations_table(
        study_of(
            _study(
                {"grids": "adamw", "recipe_optimizer": "adamw", "auroc": 0.70},
                {"grids": "patients", "unit": "patient", "auroc": 0.75, "architecture": "tiny"},
                {"grids": "published", "recipe_optimizer": "adamw", "normalisation": "none", "auroc": 0.85},
            ).fillna({"normalisation": "of_weights"})
        )
    ).set_index("ablation")
    assert table["differs_in"].to_dict() == {
        "adamw": "recipe_optimizer",
        "patients": "unit",
        "published": "recipe_optimizer, normalisation",
    }
    assert table.loc["patients", "architecture"] == "tiny"
    assert table["value"].to_list() == pytest.approx([-0.10, -0.05, 0.05], abs=OFF)
    assert table["verdict"].to_list() == ["worse", "worse", "better"]
    assert (table["n_in_family"] == 3).all()
    assert (table["n_seeds"] == 3).all()


def test_cells_of_the_main_grid_are_no_ablations(study_of):
    assert ablations_table(study_of(_study({"grids": "main, scale", "unit": "patient"}))).empty


def test_a_cell_of_two_ablations_is_a_row_of_each(study_of):
    table = ablations_table(study_of(_study({"grids": "scale, small", "fraction": 0.5})))
    assert table["ablation"].to_list() == ["scale", "small"]
    assert table["differs_in"].to_list() == ["fraction"] * 2


def test_without_a_main_cell_or_its_run_there_is_no_row(study_of):
    elsewhere = {"grids": "published", "recipe_optimizer": "adamw", "target_epsilon": 11.0}
    truth = _study(elsewhere)
    truth.loc[truth["grids"] == "published", "target_epsilon"] = 11.0
    scored = study_of(truth, patients=0)
    assert ablations_table(scored).empty
    alone = without_main_cell(scored)
    assert alone[["ablation", "target_epsilon", "n_seeds"]].to_numpy().tolist() == [["published", 11.0, 3]]
    assert alone["value"].item() == pytest.approx(0.80, abs=OFF)
    truth = _study({"grids": "adamw", "recipe_optimizer": "adamw"})
    truth["has_run"] = (truth["grids"] != "main") | (truth["architecture"] == "tiny")
    assert without_main_cell(study_of(truth)).empty
    assert ablations_table(study_of(truth)).empty  # the other network's cell is no stand-in
    truth["has_run"] = truth["grids"] == "main"
    assert ablations_table(study_of(truth)).empty


def test_settings_that_say_nothing_agree_and_the_public_only_model_is_left_out(study_of):
    truth = _study({"grids": "adamw", "recipe_optimizer": "adamw"}).assign(mechanism_expected_passes=math.nan)
    public = cells_frame({**MAIN, "head": "kept", "target_epsilon": math.nan, "grids": "adamw"})
    table = ablations_table(study_of(truth))
    assert table["differs_in"].to_list() == ["recipe_optimizer"]
    assert ablations_table(study_of(public)).empty
    assert without_main_cell(study_of(public)).empty


def test_ablations_of_a_study_file_are_named_by_what_they_change(study_of):
    study = read_study(PROJECT / "studies" / "demo.yml")
    scored = study_of(cells_table(study).assign(auroc=0.7, abroad=0.6, gap=0.1, has_run=True))
    table = ablations_table(scored)
    changed = table.groupby("ablation", sort=False)["differs_in"].agg(set).to_dict()
    assert set(changed) == set(study.grids) - {"main"}
    assert changed["scale"] == {"fraction"}
    assert changed["capacity"] == {"architecture"}
    assert changed["per_patient"] == {"unit"}
    assert changed["unnormalised"] == {"normalisation"}
    assert all(name.startswith("recipe.") for each in changed["adamw"] for name in each.split(", "))
    assert len(verdict_per_claim(claims_table(scored, study.roles))) == 6
