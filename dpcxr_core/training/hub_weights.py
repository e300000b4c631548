"""Weights that timm knows by name and the Hugging Face hub keeps."""

from __future__ import annotations

from pathlib import Path

import timm
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from timm.models import convnext, eva, vision_transformer
from torch import Tensor, nn

from dpcxr_core.config import UserError
from dpcxr_core.data.images import InputTransform
from dpcxr_core.training.architectures import check_architecture, head_name, timm_options
from dpcxr_core.training.weight_files import load_state, read_weights

_FILE_NAME = "model.safetensors"
_HUB_TIMEOUT_SECONDS = 10

# of each family, what timm does to its files: old names become new ones, position embeddings are resampled
_TRANSLATIONS = {
    convnext.ConvNeXt: convnext.checkpoint_filter_fn,
    vision_transformer.VisionTransformer: vision_transformer.checkpoint_filter_fn,
    eva.Eva: eva.checkpoint_filter_fn,
}


def hub_tags(architecture: str) -> list[str]:
    """Weights on the hub that timm knows for ``architecture``, without the architecture's name."""
    names = timm.list_pretrained(f"{architecture}.*")
    return [name.partition(".")[2] for name in names if getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)]


def translated(state: dict[str, Tensor], model: nn.Module, source: str) -> dict[str, Tensor]:
    """``state`` under the names that ``model``, of timm, has for it.

    The position embedding of a ViT is resampled to the image size of ``model``.

    Raises:
        UserError: A shape does not allow it; ``source`` is named.
    """
    try:
        return _TRANSLATIONS[type(model)](state, model)
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{source} does not fit the architecture ({reason})") from None


def load_from_hub(name: str, *, image_size: int | None = None) -> tuple[nn.Module, InputTransform, str]:
    """The network ``name`` with its public weights, the input these expect, and their revision.

    The network comes without its head, which knows nothing of the findings. The local cache of the hub is asked
    first; only then the hub, once, without the retries that make an offline machine wait for a minute.

    Args:
        name: ``architecture.tag``.
        image_size: Side of the images in pixels, for a ViT, whose position embedding is resampled to it; None for
            the size that timm states.

    Raises:
        UserError: timm knows no such weights, they can be had neither from the cache nor the hub, or the patches of
            a ViT do not tile the image.
    """
    architecture, _, tag = name.partition(".")
    check_architecture(architecture)
    if tag not in hub_tags(architecture):
        known = ", ".join(["random", *hub_tags(architecture)])
        raise UserError(f"{architecture} has no weights named {tag!r}; known are {known} and file:PATH")
    stated = timm.get_pretrained_cfg(name).to_dict()  # type: ignore[union-attr]  # None only for unknown tags
    options = timm_options(architecture, image_size)
    path = _hub_file(name, stated["hf_hub_id"])  # .../snapshots/REVISION/model.safetensors
    model = timm.create_model(name, pretrained=False, num_classes=0, **options)
    # timm would load with strict=False once the head differs, and leave what the file lacks at random
    state = translated(read_weights(path), model, name)
    body = {key: value for key, value in state.items() if not key.startswith(f"{head_name(model)}.")}
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
