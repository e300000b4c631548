"""What the weights of a run are: the record that has to lie beside them wherever they go."""

from __future__ import annotations

from dpcxr_core.config import FINDINGS
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.starts import start_of_run
from dpcxr_core.training.record import RunRecord, without_folder
from dpcxr_core.training.weight_files import WeightsRecord


def weights_record_of(record: RunRecord, places: StudyPlaces) -> WeightsRecord:
    """The record of the weights of a run, with which they can be an initialisation, with a head for the findings.

    Args:
        record: Of the run.
        places: Where its initialisation is, whose input the weights expect.
    """
    config = record.config
    return WeightsRecord(
        label=f"{record.init_label}, trained on {config.dataset}",
        input_transform=start_of_run(config, places).input_transform,
        head_outputs=FINDINGS,
        provenance={
            "run_id": record.run_id,
            "init_name": without_folder(config.init_name),
            "dataset": config.dataset,
        },
    )
