"""Weights that timm knows by name and the Hugging Face hub keeps."""

from __future__ import annotations

from pathlib import Path

import timm
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from timm.models.convnext import checkpoint_filter_fn
from torch import nn

from dpcxr_core.config import UserError
from dpcxr_core.data.images import InputTransform
from dpcxr_core.training.architectures import check_architecture
from dpcxr_core.training.weight_files import load_state, read_weights

_FILE_NAME = "model.safetensors"
_HUB_TIMEOUT_SECONDS = 10


def hub_tags(architecture: str) -> list[str]:
    """Weights that timm knows for ``architecture``, without the architecture's name."""
    return [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]


def load_from_hub(name: str) -> tuple[nn.Module, InputTransform, str]:
    """The network ``name`` with its public weights, the input these expect, and their revision.

    ``name`` is ``architecture.tag``. The network comes without its head, which knows
    nothing of the findings. The local cache of the hub is asked first; only then the hub, once, without
    the retries that make an offline machine wait for a minute.

    Raises:
        UserError: timm knows no such weights, or they can be had neither from the cache nor the hub.
    """
    architecture, _, tag = name.partition(".")
    check_architecture(architecture)
    if tag not in hub_tags(architecture):
        known = ", ".join(["random", *hub_tags(architecture)])
        raise UserError(f"{architecture} has no weights named {tag!r}; known are {known} and file:PATH")
    stated = timm.get_pretrained_cfg(name).to_dict()  # type: ignore[union-attr]  # None only for unknown tags
    path = _hub_file(name, stated["hf_hub_id"])  # .../snapshots/REVISION/model.safetensors
    model = timm.create_model(name, pretrained=False, num_classes=0, drop_path_rate=0.0)
    # timm would load with strict=False once the head differs, and leave what the file lacks at random
    state = checkpoint_filter_fn(read_weights(path), model)
    body = {key: value for key, value in state.items() if not key.startswith("head.fc.")}
    load_state(model, body, name)
    transform = InputTransform(
        mode="fixed", mean=tuple(stated["mean"]), std=tuple(stated["std"]), in_chans=stated["input_size"][0]
    )
    return model, transform, path.parent.name


def _hub_file(name: str, repository: str) -> Path:
    try:
        return Path(hf_hub_download(repository, _FILE_NAME, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    cure = "download it on a connected machine and set HF_HOME to a copy of its cache"
    try:
        get_hf_file_metadata(hf_hub_url(repository, _FILE_NAME), timeout=_HUB_TIMEOUT_SECONDS)
        return Path(hf_hub_download(repository, _FILE_NAME))
    except GatedRepoError:
        raise UserError(
            f"the weights of {name} are gated; accept their licence at https://huggingface.co/{repository} "
            f"and set HF_TOKEN, or {cure}"
        ) from None
    except Exception as error:  # the hub's client lets errors of its transport through, which vary by version
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"the weights of {name} are not in the cache and the hub did not give them ({cause}); {cure}"
        ) from None
