from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.images import to_input
from dpcxr_core.data.store import labels_of, open_store, rows_of
from dpcxr_core.study import scoring
from dpcxr_core.study.scores import scores_folder, scores_on
from dpcxr_core.study.scoring import score_images
from dpcxr_core.study.trained_model import model_of


def test_scores_are_what_the_trained_model_says_of_the_images(tiny_study):
    folder, places = tiny_study.folders[0], tiny_study.places
    trained, dataset = model_of(folder, places), places.external_datasets[0]
    store = open_store(places.store(dataset))
    rows = rows_of(store, "test")[:7]
    with torch.no_grad():
        expected = torch.sigmoid(trained.model.eval()(to_input(store.images[rows], trained.input_transform)))
    wide = scores_on(folder, dataset, places).pivot(index="image_id", columns="finding", values=["y_score", "y_true"])
    mine = wide.loc[store.cohort["image_id"].iloc[rows]]
    np.testing.assert_allclose(mine["y_score"][list(FINDINGS)], expected, atol=1e-5)  # float32, batches of another size
    np.testing.assert_array_equal(mine["y_true"][list(FINDINGS)].astype(float), labels_of(store, rows))


def test_another_data_set_is_scored_and_those_before_it_stay(tiny_study, tmp_path):
    folder, places = tiny_study.folders[0], replace(tiny_study.places, scores=tmp_path)
    score_images(folder, replace(places, external_datasets=(), null_dataset=None))
    (first,) = tmp_path.iterdir()
    written = (first / "test.parquet").stat().st_mtime_ns
    score_images(folder, places)
    assert {path.name for path in tmp_path.iterdir()} == {
        scores_folder(folder, name, places).name for name in places.test_datasets
    }
    assert (first / "test.parquet").stat().st_mtime_ns == written
    for name in places.test_datasets:
        pd.testing.assert_frame_equal(scores_on(folder, name, places), scores_on(folder, name, tiny_study.places))


def test_a_data_set_that_fails_leaves_nothing_half_written(tiny_study, tmp_path, monkeypatch):
    folder, places = tiny_study.folders[0], replace(tiny_study.places, scores=tmp_path)

    def broken(trained, store, split, run_id):
        raise UserError("a damaged image")

    monkeypatch.setattr(scoring, "_scores", broken)
    with pytest.raises(UserError, match="a damaged image"):
        score_images(folder, places)
    assert not list(tmp_path.iterdir())
