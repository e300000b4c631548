"""Initialisations for the images of a study."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from dpcxr_core.config import RunConfig
from dpcxr_core.data.images import InputTransform
from dpcxr_core.data.store import open_store
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
    image_size = open_store(places.store(dataset)).description["size"]
    start = build_initialisation(init_name, weights_dir=places.weights, seed=seed, head=head, image_size=image_size)
    if normalisation == "of_weights":
        return start
    n = start.input_transform.in_chans
    return replace(start, input_transform=InputTransform(mode="fixed", mean=(0.0,) * n, std=(1.0,) * n, in_chans=n))


def start_of_run(config: RunConfig, places: StudyPlaces) -> Initialisation:
    """Where the run ``config`` starts.

    Raises:
        UserError: As ``build_initialisation``.
    """
    return start_of(
        config.init_name,
        config.dataset,
        places,
        seed=config.seed,
        head=config.head,
        normalisation=config.normalisation,
    )
