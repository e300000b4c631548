from dataclasses import replace

import numpy as np
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.study.standin_choice import StartingPoints
from dpcxr_core.study.starting_points import (
    make_initialisations,
    pretraining_images,
    pretraining_losses,
    pretraining_table,
    probe_table,
)
from dpcxr_core.training.initialisation import build_initialisation

CHOICE = StartingPoints(n_scenes=80, nondomain_steps=4, selfsupervised_steps=3, domain_steps=60)


def test_random_comes_first_and_the_domain_stand_in_last_with_a_head(tiny_study):
    names = tiny_study.init_names
    assert [name.partition("@")[0].partition(".")[2] for name in names] == [
        "random",
        "standin_supervised",
        "standin_selfsupervised",
        "standin_domain",
    ]
    starts = [build_initialisation(name, weights_dir=tiny_study.places.weights, seed=0, head="reset") for name in names]
    assert [start.has_head for start in starts] == [False, False, False, True]


def test_what_is_cached_is_not_pretrained_again(tiny_study):
    files = {path: path.stat().st_mtime_ns for path in tiny_study.places.weights.iterdir()}
    assert make_initialisations(CHOICE, tiny_study.places, jobs=1) == tiny_study.init_names
    assert {path: path.stat().st_mtime_ns for path in tiny_study.places.weights.iterdir()} == files


def test_further_initialisations_stand_before_the_stand_ins_and_must_exist(tiny_study):
    further = replace(CHOICE, further=("convnext_atto.random",))
    names = make_initialisations(further, tiny_study.places, jobs=1)
    assert names == [tiny_study.init_names[0], "convnext_atto.random", *tiny_study.init_names[1:]]
    assert len(pretraining_table(names, tiny_study.places)) == 3
    with pytest.raises(UserError, match="convnext_huge"):
        make_initialisations(replace(CHOICE, further=("convnext_huge.random",)), tiny_study.places, jobs=1)


def test_tables_say_what_was_trained_and_how_long(tiny_study):
    table = pretraining_table(tiny_study.init_names, tiny_study.places)
    assert table["steps"].to_list() == [4, 3, 60]
    assert table["images"].to_list() == [80, 80, 200]
    losses = pretraining_losses(tiny_study.init_names, tiny_study.places)
    assert {label: len(steps) for label, steps in losses.items()} == table["steps"].to_dict()


def test_pretraining_images_come_without_radiographs(tiny_study):
    images = pretraining_images(CHOICE, tiny_study.places, n=8)
    assert images.shape == (8, 48, 48)
    assert images.dtype == np.uint8
    assert len(np.unique(images.reshape(8, -1), axis=0)) == 8


def test_probe_gives_an_auroc_for_every_finding_and_their_mean(tiny_study):
    probes = probe_table(tiny_study.init_names[:1] + tiny_study.init_names[-1:], tiny_study.places)
    assert list(probes.columns) == ["macro AUROC", *FINDINGS]
    assert probes["macro AUROC"].to_numpy() == pytest.approx(probes[list(FINDINGS)].mean(axis=1).to_numpy())
    assert ((probes > 0) & (probes < 1)).all(axis=None)


def test_missing_file_of_natural_images_is_named(tiny_study):
    with pytest.raises(UserError, match=r"nowhere\.npz"):
        make_initialisations(replace(CHOICE, natural_images="nowhere.npz"), tiny_study.places, jobs=1)


def test_only_the_stand_ins_asked_for_are_made_of_the_network_asked_for(tiny_study, tmp_path):
    places = replace(tiny_study.places, weights=tmp_path)
    chosen = replace(CHOICE, architecture="convnext_mini_deep", tags=("standin_selfsupervised", "standin_domain"))
    names = make_initialisations(replace(chosen, domain_steps=2), places, jobs=1)
    tags = [name.partition("@")[0] for name in names]
    assert tags == [f"convnext_mini_deep.{tag}" for tag in ("random", "standin_selfsupervised", "standin_domain")]
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    start = build_initialisation(names[-1], weights_dir=tmp_path, seed=0, head="kept")
    assert "stages.2.blocks.2.conv_dw.weight" in start.model.state_dict()
    without_scenes = replace(chosen, tags=("standin_domain",), natural_images="nowhere.npz", domain_steps=2)
    assert make_initialisations(without_scenes, places, jobs=1) == [names[0], names[-1]]


def test_domain_stand_in_is_refused_where_no_image_is_public(tiny_study):
    places = replace(tiny_study.places, public_dataset=tiny_study.places.private_dataset)
    with pytest.raises(UserError, match="standin_domain is pretrained on public images, and sim-a has none"):
        make_initialisations(CHOICE, places, jobs=1)
