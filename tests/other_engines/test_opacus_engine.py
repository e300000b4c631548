import copy
import importlib.util
import subprocess
from pathlib import Path

import opacus
import pytest
import torch
from opacus.grad_sample import GradSampleModule, conv
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping
from timm.models.convnext import ConvNeXt

from dpcxr_core.config import UserError
from dpcxr_core.other_engines.gradient_faults import layer_errors, opacus_sum, probe, sum_error
from dpcxr_core.other_engines.opacus_engine import (
    METHODS,
    MODES,
    OpacusMethod,
    per_image_gradients,
    per_image_norms,
    wrap,
)
from dpcxr_core.privacy.clipping_checks import losses_of
from dpcxr_core.privacy.oracle import norm_of
from tests.conftest import PROJECT

PATCH = PROJECT / "benchmarks" / "opacus_unfold2d.patch"
RIGHT = [method for method in METHODS if method.fixed or method.mode == "functorch"]
WRONG = [method for method in METHODS if method not in RIGHT]


@pytest.fixture
def probed(batch):
    """A small ConvNeXt with layer scale, as timm builds them, and three images."""
    net = ConvNeXt(in_chans=1, num_classes=5, dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ls_init_value=0.5).train()
    return probe(net, *batch)


@pytest.mark.parametrize("method", RIGHT, ids=lambda method: method.name)
def test_right_methods_agree_with_single_images(probed, method):
    assert sum_error(probed, opacus_sum(method)) < 1e-5
    assert not layer_errors(probed, method)["wrong"].any()


@pytest.mark.parametrize("method", WRONG, ids=lambda method: method.name)
def test_opacus_as_shipped_is_wrong_in_the_downsampling_layers_and_only_there(probed, method):
    assert sum_error(probed, opacus_sum(method)) > 1e-3
    table = layer_errors(probed, method)
    assert list(table[table["wrong"]]["parameter"]) == [f"stages.{stage}.downsample.1.weight" for stage in (1, 2, 3)]


@pytest.mark.parametrize("mode", MODES)
def test_sums_add_to_what_is_there_and_the_model_is_left_alone(probed, mode):
    before = copy.deepcopy(probed.model.state_dict())
    engine = wrap(probed.model, OpacusMethod(mode))
    work = (probed.images, probed.targets, losses_of, 0.5)
    engine.add_clipped_sum(*work)
    once = {name: p.grad.clone() for name, p in engine.model.named_parameters()}
    engine.add_clipped_sum(*work)
    twice = {name: p.grad - 2 * once[name] for name, p in engine.model.named_parameters()}
    assert norm_of(twice) < 1e-5 * norm_of(once)
    assert all(p.grad is None for p in probed.model.parameters())
    torch.testing.assert_close(probed.model.state_dict(), before, rtol=0, atol=0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in probed.model.modules())


def test_norms_are_those_of_the_gradients(probed):
    work = (probed.model, probed.images, probed.targets, losses_of)
    gradients = per_image_gradients(*work, OpacusMethod("hooks"))
    norms = per_image_norms(*work, OpacusMethod("ghost"))
    assert gradients.keys() == norms.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient.flatten(1).norm(dim=1), norms[name], rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="per_image_norms"):
        per_image_gradients(*work, OpacusMethod("ghost"))


def test_unknown_mode_is_refused():
    with pytest.raises(UserError, match="hooks, functorch, ghost; got 'magic'"):
        OpacusMethod("magic")


def test_register_of_opacus_stays_as_it_was(probed):
    before = [dict(GradSampleModule.GRAD_SAMPLERS), dict(GradSampleModuleFastGradientClipping.NORM_SAMPLERS)]
    for method in METHODS:
        wrap(probed.model, method)
    assert before == [GradSampleModule.GRAD_SAMPLERS, GradSampleModuleFastGradientClipping.NORM_SAMPLERS]


def test_patch_proposed_to_opacus_cures_both_modes(probed, tmp_path, monkeypatch):
    """Also the day when Opacus has mended it: then the patch no longer applies, and this says so."""
    name = Path("opacus") / "utils" / "tensor_utils.py"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text((Path(opacus.__file__).parents[1] / name).read_text())
    subprocess.run(["git", "apply", f"--include={name}", str(PATCH)], cwd=tmp_path, check=True)
    specification = importlib.util.spec_from_file_location("patched", tmp_path / name)
    patched = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(patched)
    monkeypatch.setattr(conv, "unfold2d", patched.unfold2d)
    for method in WRONG:
        assert sum_error(probed, opacus_sum(method)) < 1e-5
