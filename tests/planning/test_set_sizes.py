"""Sizes of data sets before their files are there."""

import math

import pytest

from dpcxr_core.data.manifests import manifest
from dpcxr_core.data.simulation.simulated_hospitals import HOSPITALS
from dpcxr_core.planning.set_sizes import set_size
from dpcxr_core.study.data_choice import DataChoice


def _real(name: str, **changes) -> DataChoice:
    return DataChoice(data_source=name, **{"source_dir": "nowhere", "public_fraction": 0.0, **changes})


def test_simulated_set_is_as_large_as_asked_for():
    choice = DataChoice(data_source="simulated", n_train=100, n_valid=20, n_test=50, n_external_test=30, n_public=10)
    size = set_size(choice)
    assert (size.train, size.held_out) == (100, 70)
    others = len(HOSPITALS) - 2
    assert size.further == others * (20 + 30) + 30
    assert size.made == size.stored == 100 + 20 + 50 + others * (100 + 20 + 30) + 30 + 10
    assert size.in_store == 100 + 20 + 50


def test_official_split_keeps_its_test_images_and_carves_a_seventh_or_so_of_the_others_to_validate():
    size = set_size(_real("chestxray14"))
    assert (size.train + size.valid, size.test) == (86524, 25596)
    assert size.valid / 86524 == pytest.approx(0.15)
    assert size.stored == 112120
    # an official split that validates is left as it is
    assert set_size(_real("chestmnist")).valid == 11219


def test_own_draw_of_patients_has_the_fractions_asked_for():
    size = set_size(_real("chexpert"))
    golden = 133208 + 19376, 38443  # u_zero, golden_counts.json
    assert (size.train + size.valid, size.test) == (pytest.approx(golden[0]), golden[1])
    # valid is a share of all patients, test is a share of all patients: so is what is left
    assert size.valid / golden[0] == pytest.approx(0.15 / 0.8)
    assert size.patients == pytest.approx((45173 + 6453) * 0.65 / 0.8)


def test_policy_that_leaves_images_out_makes_a_smaller_set():
    every, published = (set_size(_real("chexpert", label_policy=name)) for name in ("u_one", "as_published"))
    assert published.train + published.valid == pytest.approx(109881 + 16007)
    assert published.train < every.train


def test_public_part_takes_its_share_of_the_training_images_and_no_others():
    whole, half = (set_size(_real("vindr_cxr", public_fraction=fraction)) for fraction in (0.0, 0.25))
    assert half.train == 0.75 * whole.train
    assert half.held_out == whole.held_out
    assert half.stored == 2 * whole.stored
    assert half.made == whole.made == whole.stored  # the parts are copied, and no picture is read again
    assert half.in_store == half.train + half.held_out < whole.in_store == whole.stored


def test_lists_in_the_source_come_before_what_is_expected_of_the_whole_set(tmp_path):
    (tmp_path / "train_val_list.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "test_list.txt").write_text("e\n")
    size = set_size(_real("chestxray14", source_dir=str(tmp_path)))
    assert (size.train + size.valid, size.test) == (4, 1)
    assert "lengths of the lists" in size.source


def test_nothing_is_guessed_of_a_hospitals_own_images():
    size = set_size(DataChoice(data_source="own", manifest="mine.yml"))
    assert math.isnan(size.train)
    assert math.isnan(size.held_out)
    assert "not known" in size.source


def test_every_set_with_images_has_a_size():
    for name in ("chestxray14", "chexpert", "padchest", "vindr_cxr", "mimic_cxr_jpg", "uka_cxr", "taix_ray"):
        assert set_size(_real(name)).train > 1000


def test_expected_sizes_are_no_more_than_the_manifests_images():
    for name, counted in manifest("expected_sizes.yaml").items():
        images = manifest(f"{name}.yaml")["images"]
        more = 50 if name == "uka_cxr" else 0  # the study's split is of 193,361, 50 more than were published
        assert counted["train"] + counted.get("valid", 0) + counted["test"] <= images + more
        assert counted["source"]
