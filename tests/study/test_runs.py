import shutil
from dataclasses import replace

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.study import recording
from dpcxr_core.study.grid import public_only_run
from dpcxr_core.study.recording import run_key
from dpcxr_core.study.run_table import runs_table
from dpcxr_core.study.runs import run_many, run_many_that_may_diverge, run_one
from dpcxr_core.study.scores import missing_scores
from dpcxr_core.training.initialisation import find_standin
from dpcxr_core.training.record import read_record


def test_a_run_on_disk_is_scored_where_it_was_not_and_trained_no_more(tiny_study, tmp_path, monkeypatch):
    places = replace(tiny_study.places, scores=tmp_path)
    monkeypatch.setattr(recording, "train", lambda *_, **__: pytest.fail("trained again"))
    config = next(config for config in tiny_study.configs if config.kind == "private")
    folder = run_one(config, places)
    assert missing_scores(folder, places) == {}
    with pytest.raises(pytest.fail.Exception):  # the patch is where training would be seen
        run_one(replace(config, seed=79), places)


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
