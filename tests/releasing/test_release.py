import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.store import DESCRIPTION_FILE, file_sha256, open_store, rows_of
from dpcxr_core.releasing.release import release_model
from dpcxr_core.study.scores import scores_on
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.loop import predict
from dpcxr_core.training.record import read_record
from tests.collecting.conftest import run_from_file


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
    recorded = scores_on(private_run, "sim-a", tiny_study.places).head(100)["y_score"].to_numpy().reshape(20, 5)
    np.testing.assert_allclose(scores, recorded, atol=1e-5)  # float32 in batches of another size


def test_no_released_file_names_the_folder_that_weights_lay_in(tiny_study, tmp_path):
    run = run_from_file(tiny_study, tmp_path / "ward-of-ann")
    out = release_model(run, tiny_study.places, tmp_path / "out")
    assert "file mine.safetensors" in (out / "README.md").read_text()
    for path in out.iterdir():
        assert b"ward-of-ann" not in path.read_bytes(), path.name


def test_a_store_with_other_images_than_those_trained_on_is_refused(private_run, tiny_study, tmp_path):
    other = replace(tiny_study.places, stores=shutil.copytree(tiny_study.places.stores, tmp_path / "stores"))
    file = other.store("sim-a") / DESCRIPTION_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "split_hash": "0" * 12}))
    with pytest.raises(UserError, match=r"sim-a found has 0{12}: they are not the same\. Name the run folder"):
        release_model(private_run, other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_where_the_run_is_refused_or_the_folder_is_there(tiny_study, tmp_path, private_run):
    ordinary = tiny_study.folders[[config.kind for config in tiny_study.configs].index("non_private")]
    with pytest.raises(UserError, match="trained without privacy"):
        release_model(ordinary, tiny_study.places, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        release_model(private_run, tiny_study.places, tmp_path / "out")
