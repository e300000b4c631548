import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.files import write_json
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.study.run_table import runs_table
from dpcxr_core.study.scored_cells import auroc_of, scored_cells
from dpcxr_core.study.scoring import score_images
from tests.study.conftest import cells_frame


def test_cells_are_chosen_by_grid_and_head(study_of):
    rows = [{"grids": "main"}, {"grids": "scale, capacity"}, {"grids": "rescale"}, {"grids": "main", "head": "kept"}]
    scored = study_of(cells_frame(*rows))
    assert scored.of_grids("main").index.to_list() == [0, 3]
    assert scored.of_grids("main", "capacity").index.to_list() == [0, 1, 3]
    assert scored.with_new_head("scale").index.to_list() == [1]
    assert scored.with_new_head("main", "capacity").index.to_list() == [0, 1]


def test_each_run_is_read_with_its_own_images(tiny_study, tmp_path):
    """As an ablation of how images are prepared has them: the same patients, other stores, other scores."""
    stores = shutil.copytree(tiny_study.places.stores, tmp_path / "stores")
    for file in stores.glob("*/store.json"):
        write_json(file, {**json.loads(file.read_text()), "recipe": {"name": "another"}})
    first, second = tiny_study.folders[:2]
    other = replace(tiny_study.places, stores=stores, scores=tmp_path / "scores")
    score_images(second, other)
    runs = runs_table([first, second])
    cells = runs[["run_id", "target_epsilon", "head"]].assign(dataset="sim", grids=["main", "recipe"])
    scored = scored_cells([first, second], cells, {first.name: tiny_study.places, second.name: other})
    assert [*scored.draws] == [first.name, second.name]
    assert list(scored.home) == ["sim"]


def test_sum_is_of_the_macro_aurocs_on_every_resample(study_of):
    scored = study_of(cells_frame({"auroc": 0.8}, {"auroc": 0.7}, dataset=("north", "south")))
    first, second = (auroc_of(scored.at_home(run_id, "north")) for run_id in ("run-0", "run-2"))
    found = scored.sum_of_aurocs({"run-0": 2.0, "run-2": -1.0}, "north")
    np.testing.assert_allclose(found, 2 * first - second)
    with pytest.raises(KeyError):  # trained elsewhere: other test patients
        scored.at_home("run-1", "north")


def test_cells_without_a_record_or_places_have_no_run(tiny_study):
    runs = runs_table(tiny_study.folders)
    planned = pd.DataFrame({"run_id": [None], "target_epsilon": [None], "head": ["reset"]})
    cells = pd.concat([runs[["run_id", "target_epsilon", "head"]].astype(object), planned], ignore_index=True)
    cells["dataset"] = ["pretraining", *["sim"] * len(runs)]
    cells["grids"] = "main"
    places = dict.fromkeys(runs["run_id"][1:], tiny_study.places)  # the first only pretrains
    scored = scored_cells(tiny_study.folders[:3], cells, places)
    there = scored.cells["run_id"].notna()
    assert scored.cells.index[there].to_list() == [1, 2]
    assert [*scored.draws] == runs["run_id"].to_list()[1:3]
    assert scored.cells["target_epsilon"].dtype == float
    assert scored.home == {"sim": tiny_study.places.private_dataset}
    assert scored.abroad == {"sim": tiny_study.places.external_datasets}
    metrics = metrics_table([tiny_study.folders[1]], tiny_study.places).query(
        "finding == 'macro' and metric == 'auroc' and group_value == 'all'"
    )
    value = metrics.loc[metrics["dataset"] == tiny_study.places.private_dataset, "value"].item()
    assert auroc_of(scored.at_home(tiny_study.folders[1].name, "sim"))[0] == pytest.approx(value, abs=1e-6)
