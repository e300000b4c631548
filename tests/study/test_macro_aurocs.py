import math

import pandas as pd
import pytest

from dpcxr_core.study.macro_aurocs import macro_aurocs
from tests.study.conftest import OFF, cells_frame


def test_every_condition_that_ran_has_its_mean_over_seeds(study_of):
    trained = cells_frame(
        {"initialisation": "a", "target_epsilon": 8.0, "auroc": 0.7},
        {"initialisation": "a", "target_epsilon": math.inf, "auroc": 0.8},
        {"initialisation": "b", "target_epsilon": 8.0, "grids": "patients"},
        seed=(0, 1),
    )
    given = cells_frame({"initialisation": "a", "head": "kept", "target_epsilon": math.nan, "auroc": 0.75})
    scored = study_of(pd.concat([trained, given, cells_frame({"initialisation": "c", "has_run": False})]), patients=0)
    table = macro_aurocs(scored, "main")
    assert table[["initialisation", "head", "n_seeds"]].to_numpy().tolist() == [
        ["a", "reset", 2],
        ["a", "reset", 2],
        ["a", "kept", 1],
    ]
    assert table["value"].to_list() == pytest.approx([0.7, 0.8, 0.75], abs=OFF)
    ours = scored.sum_of_aurocs({scored.cells["run_id"].iloc[0]: 0.5, scored.cells["run_id"].iloc[1]: 0.5}, "north")
    assert table["value"].iloc[0] == pytest.approx(ours[0])
    assert macro_aurocs(scored, "scale").empty
