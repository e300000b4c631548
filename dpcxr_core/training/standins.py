"""Stand-in initialisations: small networks that the book itself pretrains, once, into a folder.

They stand in for the public weights of the study, which are larger than a laptop trains and which an
offline machine cannot fetch. A stand-in is never evidence about the weights it stands in for.
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from dpcxr_core.config import OptimisationChoice, OrdinaryBatches, UserError, content_key
from dpcxr_core.provenance import imported_source_key
from dpcxr_core.training.architectures import per_image_input
from dpcxr_core.training.initialisation import STANDIN_LABELS
from dpcxr_core.training.pretraining import (
    Pretrained,
    PretrainingData,
    PretrainingRecipe,
    pretrain_supervised,
)
from dpcxr_core.training.weight_files import WeightsRecord, write_weights

# part of every key, with all that they import: what decides what a recipe gives
_DECIDING_MODULES = ("dpcxr_core.training.pretraining", "dpcxr_core.training.self_supervision")


def adamw(learning_rate: float, weight_decay: float = 0.05) -> OptimisationChoice:
    """The optimisation that all recipes share: AdamW with a short memory of squares, cosine schedule."""
    return OptimisationChoice(optimizer="adamw", learning_rate=learning_rate, beta2=0.99, weight_decay=weight_decay)


# sized for one core of a laptop at 64 pixels: about 18 passes over 1,000 radiographs, and 4 to 5 over
# 6,000 images that are none; each well under a minute
DOMAIN_RECIPE = PretrainingRecipe(
    kind="labels", batches=OrdinaryBatches(n_steps=560, batch_size=32), optimisation=adamw(4e-3)
)
CLASSES_RECIPE = PretrainingRecipe(
    kind="classes", batches=OrdinaryBatches(n_steps=1000, batch_size=32), optimisation=adamw(3e-3)
)
ATTRIBUTES_RECIPE = PretrainingRecipe(
    kind="labels", batches=OrdinaryBatches(n_steps=1000, batch_size=32), optimisation=adamw(3e-3)
)
VICREG_RECIPE = PretrainingRecipe(
    kind="vicreg", batches=OrdinaryBatches(n_steps=350, batch_size=64), optimisation=adamw(5e-3, 1e-4)
)


def ensure_standin(
    tag: str,
    recipe: PretrainingRecipe,
    *,
    data_key: str,
    load_data: Callable[[], PretrainingData],
    weights_dir: Path,
    progress: bool,
) -> Path:
    """The weights file of the stand-in that ``recipe`` and the data make, pretrained unless it is there.

    Args:
        tag: One of ``STANDIN_LABELS``.
        recipe: How to pretrain.
        data_key: Names the content of what ``load_data`` returns; with the recipe it makes the file's name.
        load_data: Called only when there is something to pretrain.
        weights_dir: Folder of the stand-ins; made when missing.
        progress: Show a bar.

    Raises:
        UserError: ``tag`` is unknown or does not fit ``recipe.kind``, or pretraining failed.
    """
    _check_tag(tag, recipe)
    init_name = f"{recipe.architecture}.{tag}"
    key = content_key(imported_source_key(*_DECIDING_MODULES), init_name, recipe, data_key)
    path = weights_dir / f"{key}.safetensors"
    if path.with_suffix(".json").exists() and path.exists():
        return path
    data = load_data()
    start = time.perf_counter()
    result = _pretrain(data, recipe, progress=progress)
    seconds = time.perf_counter() - start
    record = WeightsRecord(
        label=STANDIN_LABELS[tag],
        input_transform=per_image_input(recipe.architecture),
        head_outputs=result.head_outputs,
        provenance={
            "init_name": init_name,
            "recipe": asdict(recipe),
            "data_key": data_key,
            "n_images": len(data.images),
            "seconds": round(seconds, 1),
            "losses": [round(float(loss), 5) for loss in result.losses],
            "versions": {
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in ("torch", "timm", "lightly")},
            },
        },
    )
    write_weights(path, result.state, record)
    return path


def _check_tag(tag: str, recipe: PretrainingRecipe) -> None:
    if tag not in STANDIN_LABELS:
        raise UserError(f"no stand-in is named {tag!r}; known are {', '.join(STANDIN_LABELS)}")
    if (tag == "standin_selfsupervised") != (recipe.kind == "vicreg"):
        raise UserError(f"{tag} cannot be pretrained by a recipe of kind {recipe.kind!r}")


def _pretrain(data: PretrainingData, recipe: PretrainingRecipe, *, progress: bool) -> Pretrained:
    if recipe.kind != "vicreg":
        return pretrain_supervised(data, recipe, progress=progress)
    # here, as lightly takes seconds to import and most readers find their stand-ins cached
    from dpcxr_core.training.self_supervision import pretrain_vicreg

    return pretrain_vicreg(data, recipe, progress=progress)
