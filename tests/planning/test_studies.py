"""The study files that come with the project: that they are read, and say the same as the book's profiles."""

import math
from collections import Counter
from typing import Any

import pytest

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.planning.cells import cells_of
from dpcxr_core.planning.study_file import Study, read_study
from dpcxr_core.profiles import BOOK_FOLDER, chapter_parameters, read_profile
from dpcxr_core.publishing.pages.parameters import declared_parameters
from dpcxr_core.study.data_choice import DataChoice
from dpcxr_core.study.grid import comparison_runs, private_runs, public_only_run, recipe_from
from dpcxr_core.study.places import evaluation_from
from dpcxr_core.study.standin_choice import STANDIN_TAGS, StartingPoints
from tests.conftest import PROJECT

SHARED_WITH_THE_BOOK = ["demo", "nih_sample", "smoke"]


def _study(name: str) -> Study:
    return read_study(PROJECT / "studies" / f"{name}.yml")


def _parameters(profile: str, chapter: str) -> dict[str, Any]:
    """What a chapter is run with under a profile."""
    declared = declared_parameters(BOOK_FOLDER / f"{chapter}.py")
    given = chapter_parameters(read_profile(profile), chapter, set(declared), PROJECT / "runs")
    return {**{name: each.default for name, each in declared.items()}, **given}


def _fields(kind: type, parameters: dict[str, Any]) -> dict[str, Any]:
    known = kind.__dataclass_fields__
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in parameters.items() if name in known
    }


@pytest.mark.parametrize("name", SHARED_WITH_THE_BOOK)
def test_images_and_stand_ins_are_those_of_the_book(name):
    study, data = _study(name), _parameters(name, "11_data_preparation")
    (dataset,) = study.data
    chosen = study.data_choice(dataset, study.main.image_recipe)
    assert chosen == DataChoice(**_fields(DataChoice, data))
    assert dataset == (chosen.private_hospital if chosen.data_source == "simulated" else chosen.data_source)
    assert study.evaluation == evaluation_from(data["evaluation"])
    standins = StartingPoints(**_fields(StartingPoints, _parameters(name, "15_initialisations")))
    assert study.standins == standins
    assert study.main.architectures == (standins.architecture,)
    weights = [each.weights for each in study.initialisations.values()]
    assert weights == ["random", *STANDIN_TAGS]


@pytest.mark.parametrize("name", SHARED_WITH_THE_BOOK)
def test_main_grid_is_the_comparison_of_the_book(name):
    study = _study(name)
    calibrated, compared = _parameters(name, "14_noise_calibration"), _parameters(name, "22_comparison")
    stated = ("delta", "expected_batch_size", "n_steps", "max_grad_norm", "clipping", "max_images_per_patient")
    assert {key: getattr(study.main.mechanism, key) for key in stated} == {key: calibrated[key] for key in stated}
    assert (study.main.units, calibrated["n_units"]) == ((calibrated["privacy_unit"],), 0)
    assert study.main.recipe == recipe_from(compared["recipe"])

    anyhow = PrivacySpecification(
        sample_rate=0.1, n_steps=2, expected_batch_size=8, max_grad_norm=1.0, noise_multiplier=1.0, delta=1e-3
    )
    specifications = dict.fromkeys(calibrated["target_epsilons"], anyhow)
    recipe, seeds = recipe_from(compared["recipe"]), compared["seeds"]
    names = list(study.initialisations)
    book = [
        *comparison_runs("set", names, specifications, recipe, seeds=seeds),
        *private_runs("set", names[-1], specifications, recipe, seeds=seeds, head="kept"),
        public_only_run("set", names[-1]),
    ]
    level = {"private": lambda run: run.target_epsilon, "non_private": lambda run: math.inf}
    in_book = [(run.init_name, run.head, level.get(run.kind, lambda run: None)(run), run.seed) for run in book]
    cells = [cell for cell, grids in cells_of(study).items() if "main" in grids]
    in_study = [(cell.initialisation, cell.head, cell.target_epsilon, cell.seed) for cell in cells]
    assert Counter(in_study) == Counter(in_book)
    assert {(cell.fraction, cell.unit, cell.normalisation) for cell in cells} == {(1.0, "image", "of_weights")}


def test_demo_has_the_runs_of_the_comparison_and_five_ablations():
    counts = Counter(grid for grids in cells_of(_study("demo")).values() for grid in grids)
    assert counts == {"main": 39, "scale": 6, "capacity": 4, "per_patient": 2, "unnormalised": 2, "adamw": 2}


def test_paper_is_the_whole_grid():
    study = _study("paper")
    cells = cells_of(study)
    main = [cell for cell, grids in cells.items() if "main" in grids and cell.dataset in study.data]
    with_new_head = [cell for cell in main if cell.head == "reset"]
    # five targets, four initialisations (both starts on MIMIC), two sizes, four levels, three seeds
    assert len(with_new_head) == 5 * 4 * 2 * 4 * 3
    assert len(main) - len(with_new_head) == 5 * 2 * 2 * (3 * 3 + 1)
    assert {cell.recipe.randomness for cell in main} == {"secret"}
    assert {cell.dataset for cell in cells} - set(study.data) == {"mimic_cxr_jpg"}
    for name, clip_norm in (("as_published_small", 4.0), ("as_published_tiny", 3.5)):
        grid = study.grids[name]
        assert (grid.mechanism.max_grad_norm, grid.mechanism.expected_passes, grid.epsilons) == (clip_norm, 150, (11,))
        assert (grid.image_recipe, grid.normalisation) == ("as_published", "none")
        assert (grid.recipe.optimizer, grid.recipe.learning_rate, grid.recipe.private_weight_decay) == (
            "adamw",
            1e-5,
            0.01,
        )
