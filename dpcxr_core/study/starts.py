"""Where runs start, and the models that they end with, for the images of a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from dpcxr_core.config import RunConfig
from dpcxr_core.data.images import InputTransform
from dpcxr_core.data.store import open_store
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.training.initialisation import Initialisation, build_initialisation
from dpcxr_core.training.record import read_record
from dpcxr_core.training.weight_files import WEIGHTS_FILE, load_state, read_weights


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


def model_of(folder: Path, places: StudyPlaces) -> Initialisation:
    """The start of the run in ``folder`` with the weights that it ended with.

    Raises:
        UserError: ``folder`` holds no finished run; or as ``build_initialisation``.
    """
    # a new head has the shape of any; its values, and those of all other layers, are then the run's own
    start = start_of_run(read_record(folder).config, places)
    file = folder / WEIGHTS_FILE
    load_state(start.model, read_weights(file), str(file))
    return start
