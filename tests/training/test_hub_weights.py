import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants
import pytest
import safetensors.torch
import timm
import torch

from dpcxr_core.config import UserError
from dpcxr_core.data.manifests import manifest
from dpcxr_core.training.architectures import build_architecture
from dpcxr_core.training.hub_weights import hub_tags, load_from_hub
from dpcxr_core.training.initialisation import MANIFEST, build_initialisation

NAME = "convnext_atto.d2_in1k"
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def _point_hub_at(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@contextmanager
def _hub(status: int, headers: dict[str, str], body: bytes = b"") -> Iterator[tuple[str, list[str]]]:
    """A hub on this machine that answers everything alike; its address and the requests it got."""
    requests: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            requests.append(f"{self.command} {self.path}")
            self.send_response(status)
            for header, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(header, value)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _atto_state() -> dict[str, torch.Tensor]:
    return build_architecture("convnext_atto", n_outputs=1000, seed=7).state_dict()


def _fill_cache(cache: Path, state: dict[str, torch.Tensor], name: str = NAME) -> None:
    repository = cache / f"models--timm--{name}"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    safetensors.torch.save_file(state, snapshot / "model.safetensors")


def test_weights_in_the_cache_are_loaded_without_asking_the_hub(tmp_path, monkeypatch):
    state = _atto_state()
    _fill_cache(tmp_path / "hub", state)
    with _hub(500, {}) as (endpoint, requests):
        _point_hub_at(monkeypatch, endpoint)
        found = build_initialisation(NAME, weights_dir=None, seed=0, head="reset")
    assert requests == []
    assert found.weights_key == REVISION[:12]
    assert not found.has_head
    for key, value in found.model.state_dict().items():
        if key.startswith("head.fc."):
            assert value.shape[0] == 5
            assert not value.any()
        else:
            assert torch.equal(value, state[key]), key
    assert found.input_transform.mode == "fixed"
    assert found.input_transform.mean == timm.get_pretrained_cfg(NAME).mean


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224.augreg_in21k_ft_in1k", "vit_small_patch16_dinov3.lvd1689m"])
def test_vit_in_the_cache_is_loaded_for_the_image_size_that_is_asked_for(tmp_path, name):
    architecture = name.partition(".")[0]
    n_outputs = 1000 if "224" in architecture else 0
    state = build_architecture(architecture, n_outputs=n_outputs, seed=7).state_dict()
    _fill_cache(tmp_path / "hub", state, name)
    found = build_initialisation(name, weights_dir=None, seed=0, head="reset", image_size=64)
    body = {key: value for key, value in found.model.state_dict().items() if not key.startswith("head.")}
    assert set(body) == {key for key in state if not key.startswith("head.")}
    resampled = [key for key, value in body.items() if not torch.equal(value, state[key])]
    assert resampled == (["pos_embed"] if "pos_embed" in state else [])
    assert found.model(torch.randn(2, 3, 64, 64)).tolist() == [[0.0] * 5] * 2
    assert found.input_transform.mean == timm.get_pretrained_cfg(name).mean


def test_vit_whose_patches_do_not_tile_the_image_is_refused_before_anything_is_fetched():
    with pytest.raises(UserError, match="patches of 14 pixels"):
        load_from_hub("vit_small_patch14_dinov2.lvd142m", image_size=64)


def test_weights_are_downloaded_where_the_hub_has_them(monkeypatch):
    state = _atto_state()
    headers = {"ETag": '"abc"', "X-Repo-Commit": REVISION}
    with _hub(200, headers, safetensors.torch.save(state)) as (endpoint, requests):
        _point_hub_at(monkeypatch, endpoint)
        model, _, revision = load_from_hub(NAME)
    assert revision == REVISION
    assert torch.equal(model.get_parameter("stem.0.weight"), state["stem.0.weight"])
    assert f"GET /timm/{NAME}/resolve/main/model.safetensors" in requests


def test_unreachable_hub_is_one_line_that_names_model_cause_and_cure(monkeypatch):
    _point_hub_at(monkeypatch, "http://127.0.0.1:9")  # the discard port: nothing listens
    with pytest.raises(UserError, match=rf"{NAME}.*refused.*HF_HOME") as caught:
        load_from_hub(NAME)
    assert "\n" not in str(caught.value)


def test_failing_hub_is_asked_only_once(monkeypatch):
    with _hub(503, {}) as (endpoint, requests):
        _point_hub_at(monkeypatch, endpoint)
        with pytest.raises(UserError, match="HF_HOME"):
            load_from_hub(NAME)
    assert len(requests) == 1


def test_gated_weights_say_where_to_accept_the_licence(monkeypatch):
    with _hub(403, {"X-Error-Code": "GatedRepo"}) as (endpoint, _):
        _point_hub_at(monkeypatch, endpoint)
        with pytest.raises(UserError, match=r"gated; accept .*huggingface.co/timm/convnext_tiny.dinov3"):
            load_from_hub("convnext_tiny.dinov3_lvd1689m")


def test_weights_that_lack_a_layer_are_refused_instead_of_filled_at_random(tmp_path):
    state = _atto_state()
    del state["stages.0.blocks.0.norm.weight"]
    _fill_cache(tmp_path / "hub", state)
    with pytest.raises(UserError, match="missing: stages.0.blocks.0.norm.weight"):
        load_from_hub(NAME)


def test_unknown_tag_names_the_known_ones():
    with pytest.raises(UserError, match=r"no weights named 'moon'.*random.*d2_in1k"):
        load_from_hub("convnext_atto.moon")
    assert hub_tags("convnext_mini") == []
    # timm knows these from their authors' own site only
    assert timm.list_pretrained("vit_huge_patch14_gap_224.in22k_ijepa")
    assert "in22k_ijepa" not in hub_tags("vit_huge_patch14_gap_224")


def test_manifest_states_the_input_that_timm_states():
    listed = {name: entry for name, entry in manifest(MANIFEST)["weights"].items() if "file" not in entry}
    convnexts = {f"convnext_{size}.{tag}" for size in ("small", "tiny") for tag in ("fb_in1k", "dinov3_lvd1689m")}
    vits = {"vit_small_patch16_224.augreg_in1k", "vit_small_patch16_dinov3.lvd1689m"}
    assert set(listed) == convnexts | vits
    for name, entry in listed.items():
        stated = timm.get_pretrained_cfg(name)
        assert tuple(entry["input_transform"]["mean"]) == stated.mean, name
        assert tuple(entry["input_transform"]["std"]) == stated.std, name
        assert entry["input_transform"]["in_chans"] == stated.input_size[0], name
        assert entry["source"].endswith(stated.hf_hub_id), name
