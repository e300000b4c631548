from dataclasses import replace

import pytest
import torch
from torch import nn

from dpcxr_core.config import UserError
from dpcxr_core.training import device as module
from dpcxr_core.training.device import Compute, autocast, find_compute, prepare_model, to_device

CPU = Compute(torch.device("cpu"))


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine that says it has two GPUs without bfloat16."""
    for name, answer in {
        "is_available": True,
        "device_count": 2,
        "set_device": None,
        "is_bf16_supported": False,
        "get_device_name": "Old GPU",
    }.items():
        monkeypatch.setattr(module.torch.cuda, name, lambda *_, answer=answer, **__: answer)


@pytest.fixture
def _flags_restored():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic)
    yield
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before


def test_machine_without_gpu_computes_on_the_cpu(monkeypatch):
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    assert find_compute("bfloat16", local_rank=3) == Compute(torch.device("cpu"), "bfloat16")


@pytest.mark.usefixtures("two_gpus")
def test_every_process_gets_its_own_gpu():
    assert find_compute("float32", local_rank=1).device == torch.device("cuda", 1)
    with pytest.raises(UserError, match="there are 2; start at most 2"):
        find_compute("float32", local_rank=2)


@pytest.mark.usefixtures("two_gpus")
def test_gpu_without_bfloat16_is_refused_by_name():
    with pytest.raises(UserError, match="Old GPU has no bfloat16"):
        find_compute("bfloat16")


def _network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten(), nn.Linear(4, 5))


@pytest.mark.usefixtures("_flags_restored")
def test_gpu_model_is_channels_last_and_float32_is_exact(monkeypatch):
    # a device that is no GPU stands for one: layouts do not depend on it
    monkeypatch.setattr(Compute, "on_gpu", property(lambda self: True))
    model = _network()
    parameters = list(model.parameters())
    prepare_model(model, CPU)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(one is other for one, other in zip(parameters, model.parameters(), strict=True))
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.deterministic


def test_cpu_model_stays_as_it_is():
    model = _network()
    allowed = torch.backends.cudnn.allow_tf32
    prepare_model(model, CPU)
    assert not model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.backends.cudnn.allow_tf32 == allowed


def test_prepared_model_is_on_the_device():
    model = _network()
    prepare_model(model, Compute(torch.device("meta")))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_tensors_arrive_with_their_values_and_in_the_layout_of_the_model(monkeypatch):
    images = torch.rand(2, 3, 4, 5)
    assert to_device(images, CPU) is images
    monkeypatch.setattr(Compute, "on_gpu", property(lambda self: True))
    there, labels = to_device(images, CPU), to_device(torch.rand(2, 5), CPU)
    assert there.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(there, images)
    assert labels.shape == (2, 5)


def test_tensors_are_moved_as_images_are(monkeypatch):
    asked = []
    monkeypatch.setattr("dpcxr_core.training.device.moved", lambda tensor, device: asked.append(device) or tensor)
    to_device(torch.rand(2, 5), Compute(torch.device("cuda")))
    assert asked == [torch.device("cuda")]


def test_autocast_changes_the_forward_pass_and_leaves_weights_alone():
    model, images = _network(), torch.rand(2, 3, 2, 2)
    with autocast(CPU):
        assert model(images).dtype == torch.float32
    with autocast(replace(CPU, precision="bfloat16")):
        assert model(images).dtype == torch.bfloat16
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
