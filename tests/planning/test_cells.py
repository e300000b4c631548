import itertools
import math
import re

import pandas as pd

from dpcxr_core.planning import cells as planned
from dpcxr_core.planning.cells import cell_name, cells_of, cells_table, pretraining_of

ONE = {"own_heads": [], "data": {"sim-a": {"data_source": "simulated"}}, "pretraining_data": None}
ONE["initialisations"] = {"random": {"weights": "random"}, "domain": {"weights": "standin_domain"}}


def _readable(cell):
    return cell.initialisation, cell.head, cell.target_epsilon, cell.seed


def test_main_grid_is_every_initialisation_at_every_level_once_a_seed(study_with):
    cells = cells_of(study_with(**{**ONE, "own_heads": ["domain"]}))
    expected = [
        *itertools.product(["random", "domain"], ["reset"], [1.0, math.inf], [0, 1]),
        *itertools.product(["domain"], ["kept"], [1.0], [0, 1]),
        ("domain", "kept", None, 0),  # once: it is not trained
    ]
    assert [_readable(cell) for cell in cells] == expected
    assert set(cells.values()) == {("main",)}
    assert [cell.kind for cell in cells][-2:] == ["private", "public_only"]


def test_what_a_run_does_not_depend_on_makes_no_cell_of_its_own(study_with):
    main = cells_of(study_with(**ONE))
    ordinary = [cell for cell in main if cell.kind == "non_private"]
    private = [cell for cell in main if cell.kind == "private"]
    for ablation, grids_share in (
        ({"units": ["patient"]}, ordinary),
        ({"mechanism": {"max_grad_norm": 1.0}}, ordinary),
        ({"recipe": {"optimizer": "adamw", "learning_rate": 1.0e-3}}, ordinary),
        ({"recipe": {"ordinary_learning_rate": 1.0e-3}}, []),
        ({"image_recipe": "as_published"}, [*private, *ordinary]),  # simulated images are drawn in one way
        ({"fractions": [0.5, 1]}, [*private, *ordinary]),
        ({"normalisation": "none"}, []),
        ({"architectures": ["convnext_mini_deep"]}, []),
    ):
        cells = cells_of(study_with(**ONE, ablations={"other": ablation}))
        assert {cell for cell, grids in cells.items() if grids == ("main", "other")} == set(grids_share), ablation
        assert [cell for cell, grids in cells.items() if "main" in grids] == list(main)


def test_cells_that_others_start_from_come_first_and_are_of_their_grids(study_with):
    study = study_with(
        data={"north": {"data_source": "padchest", "source_dir": "x"}},
        initialisations={
            "random": {"weights": "random"},
            "mimic": {"trained_on": "mimic", "from": "random"},
            "twice": {"trained_on": "mimic", "from": "mimic"},
        },
        seeds=[3, 4],
        ablations={"raw": {"normalisation": "none", "initialisations": ["mimic"], "epsilons": [1]}},
    )
    cells = cells_of(study)
    order = list(cells)
    for cell in cells:
        before = pretraining_of(cell, study)
        assert (before is None) == (cell.initialisation == "random")
        if before is not None:
            assert order.index(before) < order.index(cell)
            assert set(cells[cell]) <= set(cells[before])
            assert (before.kind, before.head, before.seed, before.fraction) == ("non_private", "reset", 3, 1.0)
            assert before.normalisation == cell.normalisation
            assert planned.tested_on(before, study) == ("mimic",)
    raw = next(cell for cell in cells if cells[cell] == ("raw",) and cell.dataset == "mimic")
    assert raw.normalisation == "none"
    assert sum(cell.dataset == "mimic" for cell in cells) == 3


def test_a_recipe_of_private_runs_alone_trains_no_other_initialisation(study_with):
    study = study_with(ablations={"adamw": {"recipe": {"optimizer": "adamw"}, "epsilons": [1]}})
    assert sum(cell.dataset == "mimic" for cell in cells_of(study)) == 1


def test_a_target_is_tested_on_every_target_its_own_first(study_with):
    study = study_with(ablations={"scale": {"data": ["north"], "fractions": [0.5]}})
    for cell in cells_of(study):
        others = {"north": ("north", "sim-a"), "sim-a": ("sim-a", "north"), "mimic": ("mimic",)}
        assert planned.tested_on(cell, study) == others[cell.dataset]


def test_names_are_fit_for_files_and_tell_cells_apart(study_with):
    study = study_with(
        ablations={
            "scale": {"fractions": [0.25], "units": ["image", "patient"]},
            "norm": {"mechanism": {"max_grad_norm": 1.0}},
        }
    )
    names = [cell_name(cell) for cell in cells_of(study)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)
    assert any(name.startswith("north-random-convnext_mini-eps1-patient-share0.25-s0-") for name in names)
    assert any(name.startswith("north-mimic-convnext_mini-own_head-eps1-s0-") for name in names)
    assert any(name.startswith("north-mimic-convnext_mini-public_only-s0-") for name in names)
    assert names == [cell_name(cell) for cell in cells_of(study)]


def test_table_has_a_row_a_cell_and_a_column_a_field(study_with):
    study = study_with()
    table = cells_table(study)
    assert list(table["cell"]) == [cell_name(cell) for cell in cells_of(study)]
    assert table["mechanism.max_grad_norm"].eq(0.5).all()
    assert set(table["recipe.randomness"]) == {"seeded"}
    assert set(table["target_epsilon"].dropna()) == {1.0, math.inf}
    assert list(table["kind"] == "public_only") == list(table["target_epsilon"].isna())
    assert pd.api.types.is_float_dtype(table["target_epsilon"])
