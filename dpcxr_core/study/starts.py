"""Initialisations for the images of a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from dpcxr_core.config import RunConfig
from dpcxr_core.data.images import InputTransform
from dpcxr_core.data.store import read_description
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.training.initialisation import Initialisation, build_initialisation


def start_of(
    init_name: str,
    dataset: str,
    places: StudyPlaces,
    *,
    seed: int,
    head: Literal["reset", "kept"],
    normalisation: Literal["of_weights", "none"] = "of_weights",
) -> Initialisation:
    """The initialisation called ``init_name``, for images as large as those of ``dataset``.

    With the normalisation "none" its input is pixels over 255, whatever its weights expect.

    Raises:
        UserError: As ``build_initialisation``.
    """
    image_size = read_description(places.store(dataset))["size"]
    start = build_initialisation(init_name, weights_dir=places.weights, seed=seed, head=head, image_size=image_size)
    if normalisation == "of_weights":
        return start
    n = start.input_transform.in_chans
    return replace(start, input_transform=InputTransform(mode="fixed", mean=(0.0,) * n, std=(1.0,) * n, in_chans=n))


def start_of_run(config: RunConfig, places: StudyPlaces) -> Initialisation:
    """Where the run ``config`` starts.

    Weights in a file that was moved since, as with a cache, are found in the folder of weights by the name of the file.

    Raises:
        UserError: As ``build_initialisation``.
    """
    architecture, sign, path = config.init_name.partition(".file:")
    moved = places.weights / Path(path).name
    is_moved = sign and not Path(path).is_file() and moved.is_file()
    return start_of(
        f"{architecture}.file:{moved}" if is_moved else config.init_name,
        config.dataset,
        places,
        seed=config.seed,
        head=config.head,
        normalisation=config.normalisation,
    )
