"""Files that a study asks for and are not there."""

from dataclasses import replace

import pytest

from dpcxr_core.data.manifests import facts_of, names_of_our_sets
from dpcxr_core.planning.missing_files import _NEEDED, missing_files, weights_named
from dpcxr_core.study.data_choice import SIMULATED

ALONE = {"pretraining_data": {}, "initialisations": {"random": {"weights": "random"}}, "own_heads": []}


def _of(source, name="chexpert"):
    return {"there": {"data_source": name, "source_dir": str(source), "public_fraction": 0}}


def test_simulated_hospitals_lack_nothing(study_with):
    assert missing_files(study_with(data={"sim-a": {"data_source": "simulated"}}, **ALONE)).empty


@pytest.mark.parametrize("name", sorted(set(names_of_our_sets()) - {SIMULATED}))
def test_set_that_is_not_there_is_missing_with_the_steps_of_its_manifest(name, study_with, tmp_path):
    missing = missing_files(study_with(data=_of(tmp_path / "nowhere", name), **ALONE))
    assert len(missing) == len(_NEEDED[name])
    assert (missing["needed_for"] == "there").all()
    assert (missing["where"] == str(tmp_path / "nowhere")).all()
    assert missing["steps"].map(len).eq(len(facts_of(name)["access"])).all()
    # what is needed is what the reader of the set looks for
    assert all(key in facts_of(name)["files"] for keys in _NEEDED[name] for key in keys)


def test_only_what_is_missing_is_named(study_with, tmp_path):
    (tmp_path / "Data_Entry_2017.csv").write_text("")  # the older of two names
    (tmp_path / "images_003" / "images").mkdir(parents=True)
    missing = missing_files(study_with(data=_of(tmp_path, "chestxray14"), **ALONE))
    assert list(missing["what"]) == ["train_val_list.txt", "test_list.txt"]


def test_release_within_the_source_is_found(study_with, tmp_path):
    release = tmp_path / "CheXpert-v1.0-small"
    (release / "train").mkdir(parents=True)
    assert list(missing_files(study_with(data=_of(tmp_path), **ALONE))["what"]) == ["train.csv or train.csv.gz"]
    (release / "train.csv.gz").write_bytes(b"")
    assert missing_files(study_with(data=_of(tmp_path), **ALONE)).empty


def test_set_to_pretrain_on_and_its_start_are_needed_too(study_with, monkeypatch, tmp_path):
    monkeypatch.setattr("dpcxr_core.planning.missing_files.try_to_load_from_cache", lambda *_: None)
    study = study_with(
        architectures=["convnext_tiny"],
        initialisations={
            "imagenet": {"weights": "fb_in1k"},
            "dinov3": {"weights": "dinov3_lvd1689m"},
            "mimic": {"trained_on": "mimic", "from": "dinov3"},
        },
    )
    missing = missing_files(study).set_index("needed_for")
    assert {"north", "mimic"} < set(missing.index)
    assert weights_named(study) == ["convnext_tiny.fb_in1k", "convnext_tiny.dinov3_lvd1689m"]
    assert "DINOv3 License" in " ".join(missing.loc["convnext_tiny.dinov3_lvd1689m", "steps"])
    # once they are in the hub's cache, they are there
    monkeypatch.setattr("dpcxr_core.planning.missing_files.try_to_load_from_cache", lambda *_: "/cache/model")
    assert set(missing_files(study)["needed_for"]) == {"north", "mimic"}


def test_weights_in_a_file_are_looked_for_there(study_with, tmp_path):
    path = tmp_path / "{architecture}.safetensors"
    study = study_with(
        data={"sim-a": {"data_source": "simulated"}},
        **ALONE | {"initialisations": {"mine": {"weights": f"file:{path}"}}},
    )
    assert list(missing_files(study)["where"]) == [str(tmp_path / "convnext_mini.safetensors")]
    (tmp_path / "convnext_mini.safetensors").write_bytes(b"")
    assert missing_files(study).empty


def test_weights_that_the_manifest_gives_a_file_are_looked_for_in_the_folder_of_weights(study_with, tmp_path):
    study = study_with(
        data={"sim-a": {"data_source": "simulated"}},
        **ALONE | {"initialisations": {"mimic": {"weights": "mimic_supervised"}}},
        architectures=["convnext_small"],
    )
    file = tmp_path / "convnext_small_mimic.safetensors"
    assert list(missing_files(study, tmp_path)["where"]) == [str(file)]
    file.write_bytes(b"")
    assert missing_files(study, tmp_path).empty


def test_start_of_a_start_of_a_start_is_needed(study_with):
    initialisations = {
        "imagenet": {"weights": "fb_in1k"},
        "mimic": {"trained_on": "mimic", "from": "imagenet"},
        "more": {"trained_on": "mimic", "from": "mimic"},
        "most": {"trained_on": "mimic", "from": "more"},
    }
    study = study_with(architectures=["convnext_tiny"], initialisations=initialisations, own_heads=[])
    alone = replace(study, grids={"main": replace(study.main, initialisations=("most",))})
    assert weights_named(alone) == ["convnext_tiny.fb_in1k"]


def test_relative_paths_are_seen_from_the_project(study_with, tmp_path, monkeypatch):
    project = tmp_path / "project"
    (project / "images").mkdir(parents=True)
    stated = {
        "data": _of("images", "padchest"),
        "standins": {"natural_images": "natural.npz"},
        **ALONE | {"initialisations": {"mine": {"weights": "file:mine.safetensors"}}},
    }
    study = study_with(**stated)
    own = study_with(**stated | {"data": {"own": {"data_source": "own", "manifest": "own.yml", "public_fraction": 0}}})
    monkeypatch.setattr("dpcxr_core.planning.missing_files.PROJECT_FOLDER", project)
    assert list(missing_files(study)["where"]) == ["images", "natural.npz", "mine.safetensors"]
    entries = facts_of("padchest")["files"]["entries"][0]
    for name in (f"images/{entries}", "natural.npz", "mine.safetensors", "own.yml"):
        (project / name).write_text("")
    assert missing_files(study).empty
    assert missing_files(own).empty


def test_own_manifest_and_natural_images_that_are_not_there_are_named(study_with, tmp_path):
    own = {"mine": {"data_source": "own", "manifest": str(tmp_path / "mine.yml"), "public_fraction": 0}}
    study = study_with(data=own, standins={"natural_images": str(tmp_path / "images.npz")}, **ALONE)
    assert list(missing_files(study)["what"]) == ["manifest", "natural images"]
    (tmp_path / "mine.yml").write_text("")
    assert list(missing_files(study)["what"]) == ["natural images"]
