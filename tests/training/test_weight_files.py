import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.images import InputTransform
from dpcxr_core.training.weight_files import (
    WeightsRecord,
    load_state,
    read_weights,
    read_weights_record,
    record_from_dict,
    write_weights,
    write_weights_of,
)

RECORD = WeightsRecord(
    label="domain supervised",
    input_transform=InputTransform(mode="fixed", mean=(0.5,), std=(0.25,), in_chans=1),
    head_outputs=FINDINGS,
    provenance={"losses": [0.5, 0.25]},
)


def _state() -> dict[str, torch.Tensor]:
    return {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}


def test_weights_and_record_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "new folder" / "some.safetensors"
    write_weights(path, _state(), RECORD)
    assert read_weights_record(path) == RECORD
    read = read_weights(path)
    assert all(torch.equal(value, read[name]) for name, value in _state().items())
    assert sorted(file.name for file in path.parent.iterdir()) == ["some.json", "some.safetensors"]


def test_interrupted_write_leaves_the_old_weights_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "some.safetensors"
    write_weights(path, _state(), RECORD)

    def half_written(_: object, partial: str) -> None:
        Path(partial).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(safetensors.torch, "save_file", half_written)
    with pytest.raises(KeyboardInterrupt):
        write_weights(path, {"weight": torch.zeros(1)}, RECORD)
    assert torch.equal(read_weights(path)["bias"], torch.ones(2))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["some.json", "some.safetensors"]


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_pickled_state_dicts_are_read_bare_or_wrapped(tmp_path, wrapper):
    torch.save(_state() if wrapper is None else {wrapper: _state(), "epoch": 3}, tmp_path / "some.pth")
    assert torch.equal(read_weights(tmp_path / "some.pth")["bias"], torch.ones(2))


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("code of a weights file was run",))


def test_pickled_code_is_refused_and_not_run(tmp_path):
    torch.save({"weight": _Bomb()}, tmp_path / "some.pth")
    with pytest.raises(UserError, match="cannot be read as mere weights") as caught:
        read_weights(tmp_path / "some.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["some.safetensors", "some.pth"])
def test_damaged_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(UserError, match="cannot be read as mere weights"):
        read_weights(tmp_path / name)


def test_missing_file_other_kind_and_other_content_are_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_weights(tmp_path / "none.pth")
    (tmp_path / "some.onnx").touch()
    with pytest.raises(UserError, match=r"must be a \.safetensors"):
        read_weights(tmp_path / "some.onnx")
    torch.save({"weight": [1, 2]}, tmp_path / "list.pth")
    with pytest.raises(UserError, match="no state dict of tensors"):
        read_weights(tmp_path / "list.pth")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"bias": None}, "missing: bias"),
        ({"gamma": torch.ones(2)}, "unknown: gamma"),
        ({"weight": torch.ones(3, 2)}, r"wrong shape: weight is \(3, 2\) instead of \(2, 3\)"),
        ({"bias": torch.tensor([1.0, torch.nan])}, "not finite: bias"),
    ],
)
def test_state_that_does_not_fit_is_refused_by_name(change, complaint):
    model = torch.nn.Linear(3, 2)
    state = {name: value for name, value in {**_state(), **change}.items() if value is not None}
    before = model.weight.detach().clone()
    with pytest.raises(UserError, match=complaint):
        load_state(model, state, "some file")
    assert torch.equal(model.weight, before)


def test_weights_without_a_record_are_refused_with_one_to_copy(tmp_path):
    with pytest.raises(UserError, match="so the input of some.pth is unknown") as caught:
        read_weights_record(tmp_path / "some.pth")
    offered = str(caught.value).partition("write it: ")[2]
    assert record_from_dict(json.loads(offered), "offered").input_transform.in_chans == 3


def test_record_with_a_missing_field_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="here is not a record of weights: KeyError 'input_transform'"):
        record_from_dict({"label": "x", "head_outputs": []}, "here")
    (tmp_path / "some.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        read_weights_record(tmp_path / "some.pth")


def test_weights_of_a_model_are_those_of_its_file(tmp_path):
    model = torch.nn.Linear(2, 3)
    write_weights_of(tmp_path, model)
    written = read_weights(tmp_path / "weights.safetensors")
    assert all(torch.equal(written[name], value) for name, value in model.state_dict().items())
