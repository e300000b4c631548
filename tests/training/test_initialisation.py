import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.images import InputTransform, to_input
from dpcxr_core.training.architectures import build_architecture, per_image_input
from dpcxr_core.training.initialisation import Initialisation, build_initialisation, find_standin, label_of
from dpcxr_core.training.weight_files import WeightsRecord, write_weights

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 64, 64), dtype=np.uint8)


def _write(
    path: Path, outputs: tuple[str, ...], *, in_chans: int = 1, init_name: str = "", with_head: bool = True
) -> dict[str, torch.Tensor]:
    n_outputs = len(outputs) or (7 if with_head else 0)
    state = build_architecture("convnext_mini", n_outputs=n_outputs, seed=5).state_dict()
    record = WeightsRecord(
        label="my hospital supervised",
        input_transform=InputTransform(mode="per_image", in_chans=in_chans),
        head_outputs=outputs,
        provenance={"init_name": init_name},
    )
    write_weights(path, state, record)
    return state


def _from_file(path: Path, head: str) -> Initialisation:
    return build_initialisation(f"convnext_mini.file:{path}", weights_dir=None, seed=0, head=head)


def _body(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if not name.startswith("head.fc.")}


def test_random_initialisation_starts_at_one_half_and_follows_the_seed():
    first, other = (
        build_initialisation("convnext_mini.random", weights_dir=None, seed=seed, head="reset") for seed in (0, 1)
    )
    assert first.input_transform == per_image_input("convnext_mini")
    assert not first.has_head
    assert not first.model.training
    assert all(parameter.requires_grad for parameter in first.model.parameters())
    assert not first.model(to_input(IMAGES, first.input_transform)).any()
    assert first.weights_key != other.weights_key
    weights = [each.model.get_parameter("stem.0.weight") for each in (first, other)]
    assert not torch.equal(*weights)


def test_file_keeps_its_body_and_its_head_where_it_names_the_findings(tmp_path):
    state = _write(tmp_path / "own.safetensors", FINDINGS)
    kept = _from_file(tmp_path / "own.safetensors", "kept")
    assert kept.has_head
    assert all(torch.equal(value, state[name]) for name, value in kept.model.state_dict().items())
    reset = _from_file(tmp_path / "own.safetensors", "reset")
    assert not reset.model.get_parameter("head.fc.weight").any()
    assert all(torch.equal(value, state[name]) for name, value in _body(reset.model.state_dict()).items())
    assert kept.weights_key == reset.weights_key


def test_kept_head_takes_the_findings_by_name_out_of_a_wider_head(tmp_path):
    outputs = ("edema", *reversed(FINDINGS), "mass")
    state = _write(tmp_path / "wide.safetensors", outputs)
    kept = _from_file(tmp_path / "wide.safetensors", "kept")
    wide = build_architecture("convnext_mini", n_outputs=len(outputs), seed=0)
    wide.load_state_dict(state)
    inputs = to_input(IMAGES, kept.input_transform)
    by_name = dict(zip(outputs, wide.eval()(inputs).T, strict=True))
    for finding, logits in zip(FINDINGS, kept.model(inputs).T, strict=True):
        torch.testing.assert_close(logits, by_name[finding])


@pytest.mark.parametrize("with_head", [True, False])
def test_head_of_no_stated_meaning_is_dropped_and_cannot_be_kept(tmp_path, with_head):
    path = tmp_path / "other.safetensors"
    state = _write(path, (), with_head=with_head)
    found = _from_file(path, "reset")
    assert not found.has_head
    assert all(torch.equal(value, state[name]) for name, value in _body(found.model.state_dict()).items())
    with pytest.raises(UserError, match="no head for the five findings.*convnext_mini.standin_domain has one"):
        _from_file(path, "kept")


def test_pickled_file_with_a_record_beside_it_is_read(tmp_path):
    state = _write(tmp_path / "own.safetensors", FINDINGS)
    torch.save({"state_dict": state}, tmp_path / "own.pth")
    kept = _from_file(tmp_path / "own.pth", "kept")
    assert torch.equal(kept.model.get_parameter("head.fc.weight"), state["head.fc.weight"])


def test_file_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "own.safetensors"
    state = _write(path, FINDINGS)
    short = {name: value for name, value in state.items() if name != "stem.0.weight"}
    safetensors.torch.save_file(short, path)
    with pytest.raises(UserError, match=r"own.safetensors does not fit .*missing: stem.0.weight"):
        _from_file(path, "reset")
    _write(path, FINDINGS[:4])
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "head_outputs": FINDINGS}))
    with pytest.raises(UserError, match="wrong shape: head.fc.weight is"):
        _from_file(path, "reset")
    _write(path, FINDINGS, in_chans=3)
    with pytest.raises(UserError, match=r"takes 1 channels, but the record of .* in_chans 3"):
        _from_file(path, "reset")


def _vit_file(path: Path, image_size: int) -> dict[str, torch.Tensor]:
    model = build_architecture("vit_tiny_patch16_224", n_outputs=len(FINDINGS), seed=5, image_size=image_size)
    transform = per_image_input("vit_tiny_patch16_224")
    record = WeightsRecord(label="a ViT", input_transform=transform, head_outputs=FINDINGS, provenance={})
    write_weights(path, model.state_dict(), record)
    return model.state_dict()


def _vit_from_file(path: Path, image_size: int | None, head: str = "kept") -> Initialisation:
    name = f"vit_tiny_patch16_224.file:{path}"
    return build_initialisation(name, weights_dir=None, seed=0, head=head, image_size=image_size)


def test_vit_in_a_file_keeps_body_and_head_and_its_position_embedding_follows_the_image_size(tmp_path):
    path = tmp_path / "own.safetensors"
    state = _vit_file(path, 64)
    same = _vit_from_file(path, 64).model
    assert all(torch.equal(value, state[name]) for name, value in same.state_dict().items())
    larger = _vit_from_file(path, 96)
    changed = [name for name, value in larger.model.state_dict().items() if not torch.equal(value, state[name])]
    assert changed == ["pos_embed"]
    found = larger.model.get_parameter("pos_embed").detach()
    assert torch.equal(found[:, :1], state["pos_embed"][:, :1])  # that of the class token has no place in the image
    grid = state["pos_embed"][:, 1:].reshape(1, 4, 4, 192).permute(0, 3, 1, 2)
    resampled = torch.nn.functional.interpolate(grid, size=(6, 6), mode="bicubic", antialias=True)
    torch.testing.assert_close(found[:, 1:], resampled.permute(0, 2, 3, 1).reshape(1, 36, 192))
    assert larger.model(torch.zeros(1, 3, 96, 96)).shape == (1, len(FINDINGS))
    assert larger.has_head
    reset = _vit_from_file(path, 64, head="reset").model
    assert not reset.get_parameter("head.weight").any()
    assert torch.equal(reset.get_parameter("blocks.11.mlp.fc2.weight"), state["blocks.11.mlp.fc2.weight"])


def test_vit_file_whose_position_embedding_is_no_square_is_refused(tmp_path):
    path = tmp_path / "own.safetensors"
    state = _vit_file(path, 64)
    safetensors.torch.save_file({**state, "pos_embed": state["pos_embed"][:, :12].contiguous()}, path)
    with pytest.raises(UserError, match="own.safetensors does not fit the architecture"):
        _vit_from_file(path, 64)


def test_random_vit_is_named_by_its_image_size_and_refuses_one_that_its_patches_do_not_tile():
    def random_vit(image_size: int) -> Initialisation:
        name = "vit_tiny_patch16_224.random"
        return build_initialisation(name, weights_dir=None, seed=0, head="reset", image_size=image_size)

    assert random_vit(64).weights_key != random_vit(96).weights_key
    with pytest.raises(UserError, match="patches of 16 pixels"):
        random_vit(70)


def test_image_size_is_nothing_to_a_convnext():
    first, other = (
        build_initialisation("convnext_mini.random", weights_dir=None, seed=0, head="reset", image_size=size)
        for size in (None, 61)
    )
    assert first.weights_key == other.weights_key


def test_weights_that_only_the_manifest_knows_are_looked_up_in_the_folder(tmp_path):
    with pytest.raises(UserError, match="convnext_small_mimic.safetensors does not exist"):
        build_initialisation("convnext_small.mimic_supervised", weights_dir=tmp_path, seed=0, head="kept")
    with pytest.raises(UserError, match="pass weights_dir"):
        build_initialisation("convnext_small.mimic_supervised", weights_dir=None, seed=0, head="kept")


def test_standin_is_found_by_its_name_and_by_key_where_there_are_several(tmp_path):
    name = "convnext_mini.standin_domain"
    with pytest.raises(UserError, match=f"holds no {name}"):
        find_standin(name, tmp_path)
    _write(tmp_path / "aaa.safetensors", FINDINGS, init_name=name)
    _write(tmp_path / "zzz.safetensors", (), init_name="convnext_mini.standin_supervised")
    found = build_initialisation(name, weights_dir=tmp_path, seed=0, head="kept")
    assert (found.weights_key, found.has_head) == ("aaa", True)
    _write(tmp_path / "bbb.safetensors", FINDINGS, init_name=name)
    with pytest.raises(UserError, match=f"name one of {name}@aaa, {name}@bbb"):
        find_standin(name, tmp_path)
    assert find_standin(f"{name}@bbb", tmp_path).stem == "bbb"
    with pytest.raises(UserError, match="holds no"):
        find_standin(f"{name}@zzz", tmp_path)


def test_labels_say_stand_in_and_never_the_name_of_what_it_stands_for(tmp_path):
    assert label_of("convnext_mini.random") == "random"
    assert label_of("convnext_mini.standin_supervised") == "non-domain supervised (stand-in)"
    assert label_of("convnext_mini.standin_selfsupervised@abc") == "non-domain self-supervised (stand-in)"
    assert label_of("convnext_mini.standin_domain") == "domain supervised (stand-in)"
    assert label_of("convnext_small.fb_in1k") == "ImageNet supervised"
    assert label_of("convnext_tiny.dinov3_lvd1689m") == "DINOv3"
    assert label_of("vit_small_patch16_dinov3.lvd1689m") == "DINOv3 (ViT)"
    assert label_of("convnext_small.mimic_supervised") == "MIMIC-CXR supervised"
    assert label_of("convnext_base.fb_in22k") == "fb_in22k"
    _write(tmp_path / "own.safetensors", FINDINGS)
    assert label_of(f"convnext_mini.file:{tmp_path}/own.safetensors") == "my hospital supervised"


@pytest.mark.parametrize("name", ["convnext_mini", "convnext_mini.", ".random"])
def test_name_that_is_not_architecture_and_tag_is_refused(name):
    with pytest.raises(UserError):
        build_initialisation(name, weights_dir=None, seed=0, head="reset")


def test_unknown_weights_are_refused_before_anything_is_fetched():
    with pytest.raises(UserError, match="convnext_mini has no weights named 'moon'"):
        build_initialisation("convnext_mini.moon", weights_dir=None, seed=0, head="reset")
