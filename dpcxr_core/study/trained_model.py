"""The model of a run that is trained and recorded."""

from __future__ import annotations

from pathlib import Path

from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.starts import start_of_run
from dpcxr_core.training.initialisation import Initialisation
from dpcxr_core.training.record import read_record
from dpcxr_core.training.weight_files import WEIGHTS_FILE, load_state, read_weights


def model_of(folder: Path, places: StudyPlaces) -> Initialisation:
    """The start of the run in ``folder`` with the weights that it ended with.

    Raises:
        UserError: ``folder`` holds no finished run; or as ``build_initialisation``: the weights that it started from
            are still needed, as they say what the input of the model is.
    """
    # a new head has the shape of any; its values, and those of all other layers, are then the run's own
    start = start_of_run(read_record(folder).config, places)
    file = folder / WEIGHTS_FILE
    load_state(start.model, read_weights(file), str(file))
    return start
