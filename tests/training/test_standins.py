import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dpcxr_core.config import FINDINGS, OrdinaryBatches, UserError
from dpcxr_core.training import standins
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.loop import predict
from dpcxr_core.training.pretraining import PretrainingData, PretrainingRecipe, pretrain_supervised
from dpcxr_core.training.standins import (
    ATTRIBUTES_RECIPE,
    CLASSES_RECIPE,
    DOMAIN_RECIPE,
    VICREG_RECIPE,
    ensure_standin,
)

BRIEF = OrdinaryBatches(n_steps=2, batch_size=8)


def _radiographs() -> PretrainingData:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 32, 32), dtype=np.uint8)
    return PretrainingData(images, rng.integers(0, 2, (24, 5)).astype(float), FINDINGS)


def _never() -> PretrainingData:
    pytest.fail("data were loaded for a stand-in that was cached")


def _ensure(
    folder: Path, recipe: PretrainingRecipe, tag: str = "standin_domain", data_key: str = "a", load=_radiographs
) -> Path:
    return ensure_standin(tag, recipe, data_key=data_key, load_data=load, weights_dir=folder, progress=False)


def test_domain_standin_is_what_its_recipe_trains_and_keeps_its_head(tmp_path):
    recipe = replace(DOMAIN_RECIPE, batches=BRIEF)
    path = _ensure(tmp_path, recipe)
    found = build_initialisation("convnext_mini.standin_domain", weights_dir=tmp_path, seed=0, head="kept")
    assert found.weights_key == path.stem
    assert found.has_head
    by_hand = pretrain_supervised(_radiographs(), recipe, progress=False)
    assert all(torch.equal(value, by_hand.state[name]) for name, value in found.model.state_dict().items())
    scores = predict(found.model, _radiographs().images, found.input_transform)
    assert scores.std() > 0


def test_cached_standin_is_returned_without_data_and_untouched(tmp_path):
    recipe = replace(DOMAIN_RECIPE, batches=BRIEF)
    path = _ensure(tmp_path, recipe)
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert _ensure(tmp_path, recipe, load=_never) == path
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_weights_without_their_record_count_as_unfinished(tmp_path):
    recipe = replace(DOMAIN_RECIPE, batches=BRIEF)
    path = _ensure(tmp_path, recipe)
    path.with_suffix(".json").unlink()
    assert _ensure(tmp_path, recipe) == path
    assert path.with_suffix(".json").exists()


def test_every_choice_and_the_data_make_another_file(tmp_path, monkeypatch):
    recipe = replace(DOMAIN_RECIPE, batches=BRIEF)
    paths = [
        _ensure(tmp_path, recipe),
        _ensure(tmp_path, replace(recipe, seed=1)),
        _ensure(tmp_path, replace(recipe, max_shift=0)),
        _ensure(tmp_path, replace(recipe, batches=OrdinaryBatches(n_steps=3, batch_size=8))),
        _ensure(tmp_path, replace(recipe, optimisation=replace(recipe.optimisation, learning_rate=1e-3))),
        _ensure(tmp_path, recipe, data_key="b"),
        _ensure(tmp_path, recipe, tag="standin_supervised"),
    ]
    monkeypatch.setattr(standins, "imported_source_key", lambda *modules: "other")
    paths.append(_ensure(tmp_path, recipe))
    assert len(set(paths)) == len(paths)


def test_non_domain_standins_have_no_head_for_the_findings(tmp_path):
    data = replace(_radiographs(), targets=np.arange(24) % 3, names=("cup", "cat", "car"))
    _ensure(tmp_path, replace(CLASSES_RECIPE, batches=BRIEF), "standin_supervised", load=lambda: data)
    _ensure(tmp_path, replace(VICREG_RECIPE, batches=BRIEF), "standin_selfsupervised")
    for tag in ("standin_supervised", "standin_selfsupervised"):
        found = build_initialisation(f"convnext_mini.{tag}", weights_dir=tmp_path, seed=0, head="reset")
        assert not found.has_head
        with pytest.raises(UserError, match="no head for the five findings"):
            build_initialisation(f"convnext_mini.{tag}", weights_dir=tmp_path, seed=0, head="kept")


def test_record_says_how_the_weights_were_made(tmp_path):
    recipe = replace(DOMAIN_RECIPE, batches=BRIEF)
    record = json.loads(_ensure(tmp_path, recipe).with_suffix(".json").read_text())
    made = record["provenance"]
    assert record["label"] == "domain supervised (stand-in)"
    assert (made["data_key"], made["n_images"]) == ("a", 24)
    assert made["recipe"]["batches"] == {"n_steps": 2, "batch_size": 8}
    assert len(made["losses"]) == 2
    assert made["seconds"] >= 0
    assert torch.__version__.startswith(made["versions"]["torch"])  # which also says how it was built


def test_failed_pretraining_leaves_nothing_that_looks_finished(tmp_path):
    recipe = replace(DOMAIN_RECIPE, batches=OrdinaryBatches(n_steps=2, batch_size=500))
    with pytest.raises(UserError, match="more than 24 images"):
        _ensure(tmp_path, recipe)
    assert list(tmp_path.iterdir()) == []


def test_tag_that_is_unknown_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match="no stand-in is named 'standin_moon'; known are standin_supervised"):
        _ensure(tmp_path, DOMAIN_RECIPE, "standin_moon", load=_never)
    with pytest.raises(UserError, match="standin_domain cannot be pretrained by a recipe of kind 'vicreg'"):
        _ensure(tmp_path, VICREG_RECIPE, load=_never)
    with pytest.raises(UserError, match="standin_selfsupervised cannot"):
        _ensure(tmp_path, ATTRIBUTES_RECIPE, "standin_selfsupervised", load=_never)
