import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpcxr_core.config import EvaluationChoice, UserError
from dpcxr_core.data.store import file_sha256, labels_of, open_store, rows_of
from dpcxr_core.provenance import PACKAGE_FOLDER, imported_files
from dpcxr_core.study import recording
from dpcxr_core.study.recording import recorded, run_key
from dpcxr_core.study.scores import scores_folder
from dpcxr_core.study.training_rows import training_rows
from dpcxr_core.training.record import read_record, read_table


def _folder(study, kind, seed=0):
    return next(
        folder
        for config, folder in zip(study.configs, study.folders, strict=True)
        if config.kind == kind and config.seed == seed
    )


def test_private_run_leaves_a_whole_record(tiny_study):
    folder = _folder(tiny_study, "private")
    record = read_record(folder)
    assert {path.name for path in folder.iterdir()} == {
        "record.json",
        "ledger.parquet",
        "diagnostics.parquet",
        "weights.safetensors",
    }
    assert record.certificate["epsilon_pld"] <= record.config.target_epsilon
    assert "added or removed" in record.privacy_statement
    assert record.selfcheck
    assert all(check["passed"] for check in record.selfcheck)
    assert len(read_table(folder, "ledger")) == record.config.privacy.n_steps
    json.loads((folder / "record.json").read_text(), parse_constant=pytest.fail)


def test_a_run_on_disk_is_not_repeated(tiny_study):
    folder = _folder(tiny_study, "private")
    before = (folder / "record.json").stat().st_mtime_ns
    config = read_record(folder).config
    assert recorded(config, tiny_study.places) == folder
    assert (folder / "record.json").stat().st_mtime_ns == before


def test_run_key_changes_with_choices_and_images_but_not_with_what_is_tested_and_how(tiny_study):
    config, places = tiny_study.configs[0], tiny_study.places
    other_images = replace(config, dataset=places.external_datasets[0])
    assert len({run_key(each, places) for each in (config, replace(config, seed=5), other_images)}) == 3
    otherwise = replace(
        places,
        external_datasets=(),
        evaluation=EvaluationChoice(n_resamples=41),
        **dict.fromkeys(("scores", "evaluations"), Path("elsewhere")),
    )
    assert run_key(config, otherwise) == run_key(config, places)


def test_neither_another_maker_of_the_same_images_nor_another_physical_batch_trains_again(tiny_study, tmp_path):
    """Else an edit of code that reads other sets, or too little memory, would spend privacy on the same patients."""
    config, folder = tiny_study.configs[0], tiny_study.folders[0]
    stores = shutil.copytree(tiny_study.places.stores, tmp_path / "stores")
    file = stores / config.dataset / "store.json"
    told = json.loads(file.read_text())
    made_anew = {"made_by": {**told["made_by"], "source": "edited"}, "counts": {**told["counts"], "more": 1}}
    file.write_text(json.dumps({**told, **made_anew}))
    places = replace(tiny_study.places, stores=stores)
    assert run_key(replace(config, physical_batch_size=7), places) == folder.name
    assert scores_folder(folder, config.dataset, places) == scores_folder(folder, config.dataset, tiny_study.places)
    file.write_text(json.dumps({**told, "images_sha256": "of other images"}))
    assert run_key(config, places) != folder.name


def test_training_set_far_from_the_declared_size_is_refused(tiny_study):
    config = next(config for config in tiny_study.configs if config.kind == "private")
    for_many = replace(config, privacy=replace(config.privacy, sample_rate=0.02))
    with pytest.raises(UserError, match=r"made for 1600 images.* has 160"):
        recorded(for_many, tiny_study.places)


def test_training_set_of_a_patient_run_is_counted_in_patients(tiny_study):
    config = next(config for config in tiny_study.configs if config.kind == "private")
    store = open_store(tiny_study.places.store(config.dataset))
    n_patients = store.cohort.iloc[rows_of(store, "train")]["patient_id"].nunique()
    assert n_patients < 0.85 * len(rows_of(store, "train"))
    per_patient = replace(config.privacy, privacy_unit="patient", max_images_per_patient=2)
    with pytest.raises(UserError, match=rf"made for 160 patients.* has {n_patients}"):
        recorded(replace(config, privacy=per_patient), tiny_study.places)


def test_patients_cannot_be_protected_where_nobody_knows_them(tiny_study, monkeypatch):
    config = next(config for config in tiny_study.configs if config.kind == "private")
    unknown = {"patient_ids": "none"}
    monkeypatch.setattr(
        "dpcxr_core.study.recording.open_store",
        lambda path: (store := open_store(path)) and replace(store, description={**store.description, **unknown}),
    )
    per_patient = replace(config.privacy, privacy_unit="patient", max_images_per_patient=2)
    with pytest.raises(UserError, match="does not know its patients"):
        recorded(replace(config, privacy=per_patient), tiny_study.places)


def test_training_reads_the_images_where_they_are(tiny_study, monkeypatch):
    config = next(config for config in tiny_study.configs if config.kind == "private")
    seen = []

    def instead(model, data, *rest, **more):
        seen.append(data)
        raise UserError("seen enough")

    monkeypatch.setattr(recording, "train", instead)
    with pytest.raises(UserError, match="seen enough"):
        recorded(replace(config, seed=77), tiny_study.places)
    store = open_store(tiny_study.places.store(config.dataset))
    rows = rows_of(store, "train")
    assert isinstance(seen[0].images, np.memmap)
    assert len(seen[0].images) == len(store.cohort)
    np.testing.assert_array_equal(seen[0].rows, rows)
    np.testing.assert_array_equal(seen[0].labels, labels_of(store, rows))
    np.testing.assert_array_equal(seen[0].patient_ids, store.cohort["patient_id"].iloc[rows])


def test_time_spent_loading_is_recorded_as_part_of_training(tiny_study):
    record = read_record(_folder(tiny_study, "private"))
    assert 0 < record.seconds["loading"] < record.seconds["training"]


def test_what_decides_a_record_is_part_of_its_key_and_scoring_and_evaluation_are_not():
    """Another way to score or evaluate must train nothing again."""
    deciding = {file.relative_to(PACKAGE_FOLDER).as_posix() for file in imported_files("dpcxr_core.study.recording")}
    assert {
        "training/loop.py",
        "privacy/gaussian.py",
        "accounting/poisson.py",
        "data/images.py",
        "config.py",
    } < deciding
    others = ("evaluation", "publishing", "data/describing", "study/scor", "study/run_table", "study/trained_model")
    assert not [file for file in deciding if file.startswith(others)]


def test_share_of_the_patients_is_trained_on_with_the_normalisation_asked_for(tiny_study, tmp_path, monkeypatch):
    config = next(each for each in tiny_study.configs if each.kind == "non_private")
    seen = []
    monkeypatch.setattr(recording, "train", lambda model, data, config, transform, **_: seen.append((data, transform)))
    places = replace(tiny_study.places, runs=tmp_path)
    folder = recorded(replace(config, train_fraction=0.5, normalisation="none"), places)
    (data, transform), store = seen[0], open_store(places.store(config.dataset))
    np.testing.assert_array_equal(data.rows, training_rows(store, 0.5))
    assert 0 < len(data.rows) < len(rows_of(store, "train"))
    assert (transform.mode, transform.mean, transform.std) == ("fixed", (0.0,), (1.0,))
    assert read_record(folder).data["n_images_trained_on"] == len(data.rows)


def test_specification_is_for_the_share_that_is_trained_on(tiny_study, tmp_path):
    config = next(each for each in tiny_study.configs if each.kind == "private")
    with pytest.raises(UserError, match="made for 160 images, the training set has"):
        recorded(replace(config, train_fraction=0.5), replace(tiny_study.places, runs=tmp_path))


def test_record_names_the_weights_beside_it(tiny_study):
    folder = _folder(tiny_study, "private")
    assert read_record(folder).data["weights_sha256"] == file_sha256(folder / "weights.safetensors")
