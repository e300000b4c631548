from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcxr_core.config import UserError
from dpcxr_core.data.images import to_input
from dpcxr_core.data.store import file_sha256, open_store
from dpcxr_core.study import starts
from dpcxr_core.training.initialisation import build_initialisation, find_standin


def test_start_is_the_initialisation_for_images_of_that_size(tiny_study, monkeypatch):
    name, places = tiny_study.init_names[-1], tiny_study.places
    found = starts.start_of(name, places.private_dataset, places, seed=1, head="reset")
    expected = build_initialisation(name, weights_dir=places.weights, seed=1, head="reset")
    torch.testing.assert_close(found.model.state_dict(), expected.model.state_dict(), rtol=0, atol=0)
    monkeypatch.setattr(starts, "build_initialisation", lambda name, *, image_size, **choices: image_size)
    asked = starts.start_of(name, places.private_dataset, places, seed=1, head="reset")
    assert asked == open_store(places.store(places.private_dataset)).images.shape[-1]


def test_weights_in_a_file_are_found_again_after_the_cache_was_moved(tiny_study, tmp_path):
    source = find_standin(tiny_study.init_names[-1], tiny_study.places.weights)
    config = replace(tiny_study.configs[-1], init_name=f"convnext_mini.file:/gone/weights/{source.name}")
    found = starts.start_of_run(config, tiny_study.places)
    assert found.weights_key == file_sha256(source)[:12]
    with pytest.raises(UserError, match="/gone/weights"):
        starts.start_of_run(config, replace(tiny_study.places, weights=tmp_path))


def test_without_normalisation_input_is_pixels_over_255(tiny_study):
    config = replace(tiny_study.configs[0], normalisation="none")
    found, usual = (starts.start_of_run(each, tiny_study.places) for each in (config, tiny_study.configs[0]))
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    expected = torch.from_numpy(images).float().unsqueeze(1) / 255
    torch.testing.assert_close(to_input(images, found.input_transform), expected)
    assert usual.input_transform.mode == "per_image"
    assert found.weights_key == usual.weights_key
