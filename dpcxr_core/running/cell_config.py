"""What a cell of a study means for a run, once its images and weights are there."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from dpcxr_core.accounting.remembered import remembered_specification
from dpcxr_core.config import PrivacySpecification, RunConfig, UserError
from dpcxr_core.data.store import open_store
from dpcxr_core.files import write_json
from dpcxr_core.planning.cells import Cell
from dpcxr_core.planning.grid import FILE
from dpcxr_core.planning.jobs import Job, job_folder, run_of
from dpcxr_core.planning.study_file import Study
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.study.grid import ordinary_run, private_run, public_only_run
from dpcxr_core.study.handover import find_initialisations
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.training_rows import training_rows


def config_of(job: Job, jobs: Mapping[str, Job], study: Study, study_dir: Path, places: StudyPlaces) -> RunConfig:
    """The choices of the run that the cell of ``job`` is.

    The noise of a private cell is calibrated for the number of units in its share of the training set, which is
    thereby declared public.

    Args:
        job: The cell's; all that it needs is done.
        jobs: All jobs of the study, by name.
        study: The cell is of it.
        study_dir: Of the study.
        places: From ``study_places``.

    Raises:
        UserError: No noise keeps the cell within its target, or the weights it starts from are not there.
    """
    cell = job.cell
    assert cell is not None
    name = _init_name(job, jobs, study, study_dir, places)
    dataset, head, seed = places.private_dataset, cell.head, cell.seed
    if cell.target_epsilon is None:
        return replace(public_only_run(dataset, name), normalisation=cell.normalisation)
    if math.isinf(cell.target_epsilon):
        config = ordinary_run(dataset, name, cell.recipe, head=head, seed=seed)
    else:
        specification = _specification(cell, cell.target_epsilon, places)
        config = private_run(dataset, name, cell.target_epsilon, specification, cell.recipe, head=head, seed=seed)
    return replace(config, train_fraction=cell.fraction, normalisation=cell.normalisation)


def _specification(cell: Cell, target_epsilon: float, places: StudyPlaces) -> PrivacySpecification:
    store = open_store(places.store(places.private_dataset))
    patient_ids = store.cohort["patient_id"].iloc[training_rows(store, cell.fraction)]
    of_patients = cell.unit == "patient"
    n_units = patient_ids.nunique() if of_patients else len(patient_ids)
    mechanism = cell.mechanism
    return remembered_specification(
        target_epsilon=target_epsilon,
        delta=mechanism.delta,
        n_units=n_units,
        expected_batch_size=mechanism.expected_batch_size,
        n_steps=mechanism.steps(n_units),
        max_grad_norm=mechanism.max_grad_norm,
        privacy_unit=cell.unit,
        max_images_per_patient=mechanism.max_images_per_patient if of_patients else None,
        clipping=mechanism.clipping,
    )


def _init_name(job: Job, jobs: Mapping[str, Job], study: Study, study_dir: Path, places: StudyPlaces) -> str:
    cell = job.cell
    assert cell is not None
    choice, architecture = study.initialisations[cell.initialisation], cell.architecture
    needed = {jobs[name].kind: job_folder(study_dir, jobs[name]) for name in job.needs}
    if choice.weights is None:
        return f"{architecture}.{FILE}{_weights_of_run(run_of(needed['cell']), places)}"
    name = choice.weights_name(architecture)
    if choice.is_standin:
        left = find_initialisations(needed["standins"])
        found = [each for each in left if each.partition("@")[0] == name]
        if len(found) != 1:
            raise UserError(f"{needed['standins']} left {len(found)} weights {name}; it left {left}")
        return found[0]
    _, is_file, path = name.partition(f".{FILE}")
    return f"{architecture}.{FILE}{PROJECT_FOLDER / path}" if is_file else name  # as seen from any folder


def _weights_of_run(run: Path, places: StudyPlaces) -> Path:
    """The weights that ``run`` left, linked into the folder of weights, with the record that an initialisation needs.

    A record of a run is never written to again, so that others can check it.
    """
    from dpcxr_core.releasing.weights_record import weights_record_of  # needs torch, which other cells do without
    from dpcxr_core.training.record import read_record
    from dpcxr_core.training.weight_files import WEIGHTS_FILE

    linked = places.weights / f"{run.name}.safetensors"
    linked.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=linked.parent) as beside:  # a link from before may lead to nowhere by now
        link = Path(beside) / linked.name
        link.symlink_to(run / WEIGHTS_FILE)
        os.replace(link, linked)
    write_json(linked.with_suffix(".json"), asdict(weights_record_of(read_record(run), places)))
    return linked
