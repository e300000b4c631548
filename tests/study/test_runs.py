import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpcxr_core.config import FINDINGS, EvaluationChoice, UserError
from dpcxr_core.data.store import file_sha256, labels_of, open_store, rows_of
from dpcxr_core.provenance import PACKAGE_FOLDER, imported_files
from dpcxr_core.study import runs as study
from dpcxr_core.study.grid import public_only_run
from dpcxr_core.study.runs import run_key, run_many, run_many_that_may_diverge, run_one, runs_table
from dpcxr_core.study.training_rows import training_rows
from dpcxr_core.tables import SCORES, checked
from dpcxr_core.training.initialisation import find_standin
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
        "scores.parquet",
        "scores_valid.parquet",
        "weights.safetensors",
    }
    assert record.certificate["epsilon_pld"] <= record.config.target_epsilon
    assert "added or removed" in record.privacy_statement
    assert record.selfcheck
    assert all(check["passed"] for check in record.selfcheck)
    assert len(read_table(folder, "ledger")) == record.config.privacy.n_steps
    json.loads((folder / "record.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(("name", "split"), [("scores", "test"), ("scores_valid", "valid")])
def test_scores_cover_every_image_of_the_split_once(name, split, tiny_study):
    scores = checked(read_table(_folder(tiny_study, "non_private"), name), SCORES)
    assert not scores.duplicated(["image_id", "finding"]).any()
    for dataset in tiny_study.places.test_datasets:
        cohort = open_store(tiny_study.places.store(dataset)).cohort.query("split == @split")
        mine = scores[scores["dataset"] == dataset]
        assert len(mine) == len(cohort) * len(FINDINGS)
        assert set(mine["image_id"]) == set(cohort["image_id"])
        assert (split == "valid" and dataset == tiny_study.places.null_dataset) == mine.empty
    assert set(scores["dataset"]) <= set(tiny_study.places.test_datasets)


def test_validation_images_of_the_set_trained_on_are_scored_also_where_it_is_not_tested_on(tiny_study, tmp_path):
    places = replace(tiny_study.places, runs=tmp_path, external_datasets=(), null_dataset=None)
    elsewhere = public_only_run(tiny_study.places.external_datasets[0], tiny_study.init_names[-1])
    folder = run_one(elsewhere, places)
    assert set(read_table(folder, "scores")["dataset"]) == {places.private_dataset}
    assert set(read_table(folder, "scores_valid")["dataset"]) == {elsewhere.dataset, places.private_dataset}


def test_a_run_on_disk_is_not_repeated(tiny_study):
    folder = _folder(tiny_study, "private")
    before = (folder / "record.json").stat().st_mtime_ns
    config = read_record(folder).config
    assert run_one(config, tiny_study.places) == folder
    assert (folder / "record.json").stat().st_mtime_ns == before


def test_run_key_changes_with_choices_and_images_but_not_with_the_evaluation(tiny_study):
    config, places = tiny_study.configs[0], tiny_study.places
    keys = {
        run_key(config, places),
        run_key(replace(config, seed=5), places),
        run_key(config, replace(places, external_datasets=places.external_datasets[:1])),
    }
    assert len(keys) == 3
    evaluated_otherwise = replace(places, evaluation=EvaluationChoice(n_resamples=41), evaluations=Path("elsewhere"))
    assert run_key(config, evaluated_otherwise) == run_key(config, places)


def test_weights_from_a_file_run_too_and_their_path_stays_out_of_the_folder_name(tiny_study, tmp_path):
    source = find_standin(tiny_study.init_names[-1], tiny_study.places.weights)
    for suffix in (".safetensors", ".json"):
        (tmp_path / f"mine{suffix}").write_bytes(source.with_suffix(suffix).read_bytes())
    config = public_only_run(tiny_study.places.private_dataset, f"convnext_mini.file:{tmp_path / 'mine.safetensors'}")
    folder = run_one(config, tiny_study.places)
    elsewhere = shutil.copytree(tmp_path, tmp_path / "elsewhere") / "mine.safetensors"
    moved = replace(config, init_name=f"convnext_mini.file:{elsewhere}")
    assert run_key(moved, tiny_study.places) == folder.name
    assert runs_table([folder])["init_name"].item() == "convnext_mini.file:mine.safetensors"
    assert folder.parent == tiny_study.places.runs
    assert folder.name.startswith(f"{config.dataset}-convnext_mini.mine-kept-")
    assert read_record(folder).config == config


def test_run_many_finishes_the_others_when_one_fails_and_says_which(tiny_study, tmp_path):
    places = replace(tiny_study.places, runs=tmp_path)
    good = public_only_run(places.private_dataset, tiny_study.init_names[-1])
    bad = public_only_run(places.private_dataset, "convnext_mini.random")
    with pytest.raises(UserError, match=r"1 of 2 runs failed.*convnext_mini.random.*head"):
        run_many([bad, good], places, n_jobs=1)
    (folder,) = tmp_path.glob("[!.]*")
    assert read_record(folder).config == good
    assert run_many([good], places, n_jobs=1) == [folder]


def test_run_that_diverges_is_no_failure_where_that_is_a_result(tiny_study, tmp_path):
    places = replace(tiny_study.places, runs=tmp_path)
    private = next(config for config in tiny_study.configs if config.kind == "private")
    neither = replace(private.privacy, noise_multiplier=0.0, clipping="none")
    wild = replace(private.optimisation, learning_rate=1e30)
    diverges = replace(private, privacy=neither, target_epsilon=None, optimisation=wild)
    good = public_only_run(places.private_dataset, tiny_study.init_names[-1])
    lost, folder = run_many_that_may_diverge([diverges, good], places, n_jobs=1)
    assert lost is None
    assert read_record(folder).config == good
    bad = public_only_run(places.private_dataset, "convnext_mini.random")
    with pytest.raises(UserError, match=r"1 of 2 runs failed.*head"):
        run_many_that_may_diverge([diverges, bad], places, n_jobs=1)


def test_ablation_is_recorded_without_a_certificate(tiny_study, tmp_path):
    places = replace(tiny_study.places, runs=tmp_path)
    private = next(config for config in tiny_study.configs if config.kind == "private")
    config = replace(private, privacy=replace(private.privacy, clipping="none"), target_epsilon=None)
    folder = run_one(config, places)
    record = read_record(folder)
    assert record.certificate is None
    assert record.privacy_statement is None
    assert runs_table([folder])["kind"].item() == "ablation"


def test_training_set_far_from_the_declared_size_is_refused(tiny_study):
    config = next(config for config in tiny_study.configs if config.kind == "private")
    for_many = replace(config, privacy=replace(config.privacy, sample_rate=0.02))
    with pytest.raises(UserError, match=r"made for 1600 images.* has 160"):
        run_one(for_many, tiny_study.places)


def test_training_set_of_a_patient_run_is_counted_in_patients(tiny_study):
    config = next(config for config in tiny_study.configs if config.kind == "private")
    store = open_store(tiny_study.places.store(config.dataset))
    n_patients = store.cohort.iloc[rows_of(store, "train")]["patient_id"].nunique()
    assert n_patients < 0.85 * len(rows_of(store, "train"))
    per_patient = replace(config.privacy, privacy_unit="patient", max_images_per_patient=2)
    with pytest.raises(UserError, match=rf"made for 160 patients.* has {n_patients}"):
        run_one(replace(config, privacy=per_patient), tiny_study.places)


def test_patients_cannot_be_protected_where_nobody_knows_them(tiny_study, monkeypatch):
    config = next(config for config in tiny_study.configs if config.kind == "private")
    unknown = {"patient_ids": "none"}
    monkeypatch.setattr(
        "dpcxr_core.study.runs.open_store",
        lambda path: (store := open_store(path)) and replace(store, description={**store.description, **unknown}),
    )
    per_patient = replace(config.privacy, privacy_unit="patient", max_images_per_patient=2)
    with pytest.raises(UserError, match="does not know its patients"):
        run_one(replace(config, privacy=per_patient), tiny_study.places)


def test_training_reads_the_images_where_they_are(tiny_study, monkeypatch):
    config = next(config for config in tiny_study.configs if config.kind == "private")
    seen = []

    def instead(model, data, *rest, **more):
        seen.append(data)
        raise UserError("seen enough")

    monkeypatch.setattr(study, "train", instead)
    with pytest.raises(UserError, match="seen enough"):
        run_one(replace(config, seed=77), tiny_study.places)
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
    whole = record.seconds["training"] + record.seconds["scoring"]
    assert runs_table([_folder(tiny_study, "private")])["seconds"].item() == pytest.approx(whole)


def test_runs_table_tells_runs_apart(tiny_study):
    runs = runs_table(tiny_study.folders)
    assert runs["run_id"].is_unique
    assert not runs.duplicated(["init_label", "kind", "target_epsilon", "seed"]).any()
    private = runs[runs["kind"] == "private"]
    assert (private["epsilon_spent"] <= private["target_epsilon"]).all()
    assert runs.loc[runs["kind"] != "private", ["epsilon_spent", "privacy_unit"]].isna().all(axis=None)
    assert set(private["privacy_unit"]) == {"image"}
    assert set(runs["architecture"]) == {"convnext_mini"}


def test_what_decides_a_record_is_part_of_its_key_and_evaluation_is_not():
    """Another way to evaluate must train nothing again."""
    deciding = {file.relative_to(PACKAGE_FOLDER).as_posix() for file in imported_files("dpcxr_core.study.runs")}
    assert {
        "training/loop.py",
        "privacy/gaussian.py",
        "accounting/poisson.py",
        "data/images.py",
        "config.py",
    } < deciding
    assert not [file for file in deciding if file.startswith(("evaluation", "publishing", "data/describing"))]


def test_share_of_the_patients_is_trained_on_with_the_normalisation_asked_for(tiny_study, tmp_path, monkeypatch):
    config = next(each for each in tiny_study.configs if each.kind == "non_private")
    seen = []
    monkeypatch.setattr(study, "train", lambda model, data, config, transform, **_: seen.append((data, transform)))
    places = replace(tiny_study.places, runs=tmp_path)
    folder = run_one(replace(config, train_fraction=0.5, normalisation="none"), places)
    (data, transform), store = seen[0], open_store(places.store(config.dataset))
    np.testing.assert_array_equal(data.rows, training_rows(store, 0.5))
    assert 0 < len(data.rows) < len(rows_of(store, "train"))
    assert (transform.mode, transform.mean, transform.std) == ("fixed", (0.0,), (1.0,))
    assert read_record(folder).data["n_images_trained_on"] == len(data.rows)
    row = runs_table([folder]).iloc[0]
    assert (row["train_fraction"], row["normalisation"]) == (0.5, "none")


def test_specification_is_for_the_share_that_is_trained_on(tiny_study, tmp_path):
    config = next(each for each in tiny_study.configs if each.kind == "private")
    with pytest.raises(UserError, match="made for 160 images, the training set has"):
        run_one(replace(config, train_fraction=0.5), replace(tiny_study.places, runs=tmp_path))


def test_record_names_the_weights_beside_it(tiny_study):
    folder = _folder(tiny_study, "private")
    assert read_record(folder).data["weights_sha256"] == file_sha256(folder / "weights.safetensors")
