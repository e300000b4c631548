import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.store import file_sha256, open_store, rows_of
from dpcxr_core.releasing.release import release_model
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.loop import predict
from dpcxr_core.training.record import read_record


def test_a_released_folder_holds_what_may_be_given_away_and_nothing_else(released, private_run):
    assert {path.name for path in released.iterdir()} == {
        "README.md",
        "certificate.json",
        "weights.json",
        "weights.safetensors",
    }
    assert file_sha256(released / "weights.safetensors") == file_sha256(private_run / "weights.safetensors")
    stated = json.loads((released / "certificate.json").read_text())
    record = read_record(private_run)
    assert stated["certificate"] == record.certificate
    assert stated["config"]["privacy"] == asdict(record.config.privacy)
    assert {"data", "seconds"}.isdisjoint(stated)  # how many images there were is not covered


def test_released_weights_are_an_initialisation_and_score_as_recorded(released, private_run, tiny_study):
    name = f"convnext_mini.file:{released / 'weights.safetensors'}"
    start = build_initialisation(name, weights_dir=None, seed=0, head="kept", image_size=64)
    store = open_store(tiny_study.places.store("sim-a"))
    scores = predict(start.model, store.images, start.input_transform, rows=rows_of(store, "test")[:20])
    recorded = pd.read_parquet(private_run / "scores.parquet").head(100)["y_score"].to_numpy().reshape(20, 5)
    np.testing.assert_allclose(scores, recorded, atol=1e-5)  # float32 in batches of another size


def test_nothing_is_written_where_the_run_is_refused_or_the_folder_is_there(tiny_study, tmp_path, private_run):
    ordinary = tiny_study.folders[[config.kind for config in tiny_study.configs].index("non_private")]
    with pytest.raises(UserError, match="trained without privacy"):
        release_model(ordinary, tiny_study.places, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        release_model(private_run, tiny_study.places, tmp_path / "out")
