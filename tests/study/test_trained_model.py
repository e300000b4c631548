import pytest
import torch
from safetensors.torch import load_file

from dpcxr_core.config import UserError
from dpcxr_core.study.starts import start_of_run
from dpcxr_core.study.trained_model import model_of


def test_model_of_a_run_is_its_start_with_the_weights_that_it_left(tiny_study):
    for config, folder in zip(tiny_study.configs, tiny_study.folders, strict=True):
        found, start = model_of(folder, tiny_study.places), start_of_run(config, tiny_study.places)
        left = load_file(folder / "weights.safetensors")
        torch.testing.assert_close(dict(found.model.state_dict()), left, rtol=0, atol=0)
        assert found.input_transform == start.input_transform
    with pytest.raises(UserError, match="no finished run"):
        model_of(tiny_study.run_dir, tiny_study.places)
