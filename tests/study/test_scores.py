import subprocess
import sys
from dataclasses import replace

import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.store import open_store
from dpcxr_core.study import scores
from dpcxr_core.study.scores import datasets_scored, missing_scores, scores_folder, scores_of_tests, scores_on
from dpcxr_core.tables import SCORES, checked
from dpcxr_core.training.record import read_record, write_record_json


@pytest.mark.parametrize("split", ["test", "valid"])
def test_scores_cover_every_image_of_the_split_once(split, tiny_study):
    folder, places = tiny_study.folders[0], tiny_study.places
    for dataset in places.test_datasets:
        found = checked(scores_on(folder, dataset, places, split), SCORES)
        cohort = open_store(places.store(dataset)).cohort.query("split == @split")
        assert not found.duplicated(["image_id", "finding"]).any()
        assert len(found) == len(cohort) * len(FINDINGS)
        assert set(found["image_id"]) == set(cohort["image_id"])
        assert (split == "valid" and dataset == places.null_dataset) == found.empty


def test_scores_of_tests_are_of_every_set_tested_on(tiny_study):
    found = scores_of_tests(tiny_study.folders[0], tiny_study.places)
    assert tuple(found["dataset"].unique()) == tiny_study.places.test_datasets
    assert set(found["run_id"]) == {tiny_study.folders[0].name}
    assert found.index.is_unique


def test_the_set_trained_on_is_scored_also_where_it_is_not_tested_on(tiny_study):
    folder, places = tiny_study.folders[0], tiny_study.places
    elsewhere = replace(places, private_dataset=places.external_datasets[0], external_datasets=(), null_dataset=None)
    assert datasets_scored(folder, elsewhere) == (places.private_dataset, places.external_datasets[0])
    assert set(scores_of_tests(folder, elsewhere)["dataset"]) == {places.external_datasets[0]}


def test_scores_are_others_with_other_weights_images_or_code(tiny_study, tmp_path, monkeypatch):
    folder, places = tiny_study.folders[0], tiny_study.places
    home, abroad = places.test_datasets[:2]
    found = {scores_folder(folder, home, places), scores_folder(folder, abroad, places)}
    again, record = tmp_path / folder.name, read_record(folder)
    write_record_json(again, replace(record, data=record.data | {"weights_sha256": "other"}))
    found.add(scores_folder(again, home, places))
    content = scores.content_of(places.store(home))
    with monkeypatch.context() as patched:
        patched.setattr(scores, "content_of", lambda path: content | {"images_sha256": "other"})
        found.add(scores_folder(folder, home, places))
    monkeypatch.setattr(scores, "imported_source_key", lambda *modules: "other")
    found.add(scores_folder(folder, home, places))
    monkeypatch.setattr(scores, "deciding_libraries", lambda: {"torch": "0.1"})
    found.add(scores_folder(folder, home, places))
    assert len(found) == 6


def test_what_is_missing_is_named_with_the_cure(tiny_study, tmp_path):
    folder, places = tiny_study.folders[0], replace(tiny_study.places, scores=tmp_path)
    assert missing_scores(folder, tiny_study.places) == {}
    assert set(missing_scores(folder, places)) == set(places.test_datasets)
    with pytest.raises(UserError, match=r"test.parquet is missing; do the run .* again, which scores it and trains"):
        scores_on(folder, places.private_dataset, places)
    with pytest.raises(UserError, match="no finished run"):
        missing_scores(tmp_path, places)


def test_reading_scores_takes_no_torch():
    code = "import sys, dpcxr_core.study.scores; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
