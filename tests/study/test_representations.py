from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.special import expit

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.store import file_sha256, open_store, rows_of
from dpcxr_core.evaluation.statistics.auroc import auroc
from dpcxr_core.study.representations import BEFORE, RepresentationChoice, representation_table
from dpcxr_core.study.run_table import runs_table
from dpcxr_core.study.scores import scores_on
from dpcxr_core.study.scoring import score_images
from dpcxr_core.study.starts import start_of
from dpcxr_core.training.record import read_record, write_record_json

ALL_IMAGES = RepresentationChoice(n_train=160, n_test=260)


@pytest.fixture(scope="module")
def places(tiny_study, tmp_path_factory):
    """Those of the tiny study, with a folder of evaluations of our own."""
    return replace(tiny_study.places, evaluations=tmp_path_factory.mktemp("evaluations"))


@pytest.fixture(scope="module")
def table(tiny_study, places):
    return representation_table(tiny_study.folders, places, ALL_IMAGES, n_jobs=1)


def _embedded(places):
    return sorted((places.evaluations / "embeddings").iterdir())


def test_every_start_and_every_trained_condition_is_measured_once(tiny_study, table):
    runs = runs_table(tiny_study.folders)
    conditions = runs[runs["kind"].isin(["private", "non_private"])].drop_duplicates(["init_label", "kind"])
    measured = table.drop_duplicates(["init_label", "kind"])
    assert len(measured[measured["kind"] == BEFORE]) == 3
    assert set(measured.loc[measured["kind"] != BEFORE, "init_label"]) == set(conditions["init_label"])
    assert len(measured) == 3 + len(conditions)
    assert table.groupby("kind")["measure"].nunique().to_dict() == {BEFORE: 3, "non_private": 8, "private": 8}
    assert set(table["n"]) == {260}
    known = table.dropna(subset="value")
    assert (known["low"] <= known["high"]).all()


def test_end_to_end_auroc_is_that_of_the_scores_of_the_run(tiny_study, places, table):
    scores = scores_on(tiny_study.folders[0], places.private_dataset, places)
    label = runs_table(tiny_study.folders)["init_label"].iloc[0]
    row = table[
        (table["init_label"] == label) & (table["kind"] == "private") & (table["measure"] == "end_to_end_auroc")
    ].iloc[0]
    covered = row["reason"].removeprefix("mean over ").split(", ") if row["reason"] else list(FINDINGS)
    by_finding = [auroc(rows["y_true"], rows["y_score"]) for name, rows in scores.groupby("finding") if name in covered]
    assert row["value"] == pytest.approx(np.mean(by_finding))


def test_kept_embeddings_are_those_that_the_head_of_the_run_scored(tiny_study, places, table):
    """So weights, images and their order are the right ones."""
    folder = tiny_study.folders[0]
    weights = load_file(folder / "weights.safetensors")
    store = open_store(places.store(places.private_dataset))
    image_ids = store.cohort["image_id"].to_numpy()[rows_of(store, "test")]
    scores = scores_on(folder, places.private_dataset, places)
    scores = scores.pivot(index="image_id", columns="finding", values="y_score")
    expected = scores.loc[image_ids, list(FINDINGS)].to_numpy()

    def furthest(kept):
        by_head = expit(np.load(kept / "test.npy") @ weights["head.fc.weight"].T + weights["head.fc.bias"])
        return np.abs(by_head - expected).max()

    distances = sorted(furthest(kept) for kept in _embedded(places))
    assert distances[0] < 1e-5
    assert distances[1] > 1e-4  # all other models


def test_what_is_kept_is_not_embedded_again(tiny_study, places, table):
    files = {path: path.stat().st_mtime_ns for folder in _embedded(places) for path in folder.iterdir()}
    again = representation_table(tiny_study.folders, places, ALL_IMAGES, n_jobs=2)
    assert again.equals(table)
    assert {path: path.stat().st_mtime_ns for folder in _embedded(places) for path in folder.iterdir()} == files


def test_fewer_images_are_drawn_and_embedded_apart(tiny_study, places):
    before = len(_embedded(places))
    few = representation_table(tiny_study.folders[:1], places, RepresentationChoice(n_train=60, n_test=100), n_jobs=1)
    assert set(few["n"]) == {100}
    assert len(_embedded(places)) - before == 2


def test_a_run_done_again_under_its_name_is_measured_by_its_own_weights(tiny_study, places, tmp_path):
    """As with secret randomness: the same name, other weights."""
    folder, few = tiny_study.folders[0], RepresentationChoice(n_train=60, n_test=100)
    again, record = tmp_path / folder.name, read_record(folder)
    again.mkdir()
    untrained = start_of(record.config.init_name, places.private_dataset, places, seed=0, head="reset")
    state = {name: value.numpy() for name, value in untrained.model.state_dict().items()}
    save_file(state, again / "weights.safetensors")
    weights = {"weights_sha256": file_sha256(again / "weights.safetensors")}
    write_record_json(again, replace(record, data=record.data | weights))
    score_images(again, places)
    trained, moved_nowhere = (
        representation_table([each], places, few, n_jobs=1).query("measure == 'displacement'")["value"].max()
        for each in (folder, again)
    )
    assert moved_nowhere == 0 < trained


def test_choices_and_runs_that_show_nothing_are_refused(tiny_study, places):
    with pytest.raises(UserError, match="n_test must be at least 20; got 5"):
        RepresentationChoice(n_test=5)
    with pytest.raises(UserError, match="none of the 1 runs was trained"):
        representation_table(tiny_study.folders[-1:], places, ALL_IMAGES, n_jobs=1)
