"""The record of a run: trained from its initialisation, once, and kept.

A record is named by the content of everything that training depends on (choices, images, weights, code). What is
tested, and how, is none of it: another test set is scored (``scoring``), another way to evaluate evaluated
(``evaluating``), and nothing is trained, nor any privacy spent, again.
"""

from __future__ import annotations

import glob
import re
import shutil
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dpcxr_core.accounting.certificate import PrivacyCertificate, privacy_statement
from dpcxr_core.accounting.remembered import remembered_certificate
from dpcxr_core.config import PrivacySpecification, RunConfig, UserError, content_key
from dpcxr_core.data.store import (
    ImageStore,
    check_images,
    check_patients_known,
    content_of,
    file_sha256,
    labels_of,
    open_store,
    read_description,
)
from dpcxr_core.files import whole_folder
from dpcxr_core.privacy.selfcheck import brief_selfcheck
from dpcxr_core.privacy.units import units_of
from dpcxr_core.provenance import deciding_libraries, git_state, imported_source_key, versions
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.starts import start_of_run
from dpcxr_core.study.training_rows import training_rows
from dpcxr_core.training.checkpoint import CheckpointPlace, only_writer, remove_checkpoint
from dpcxr_core.training.device import Compute, find_compute, prepare_model
from dpcxr_core.training.initialisation import Initialisation, label_of
from dpcxr_core.training.loop import TrainingTrace, train
from dpcxr_core.training.ranks import ALONE, Ranks, from_first
from dpcxr_core.training.record import RunRecord, without_folder, write_record_json
from dpcxr_core.training.training_set import TrainingData
from dpcxr_core.training.weight_files import WEIGHTS_FILE, write_weights_of


def run_key(config: RunConfig, places: StudyPlaces) -> str:
    """The run's name: readable front, and a key of everything that the result depends on, but for rounding.

    So neither a store made again with the same images, nor another physical batch, spends privacy again.
    """
    data = content_of(places.store(config.dataset))
    start = start_of_run(config, places)
    weights = (start.weights_key, start.input_transform)
    init_name = without_folder(config.init_name)
    choices = asdict(replace(config, init_name=init_name))
    del choices["physical_batch_size"]
    key = content_key(choices, data, *weights, _deciding_code(), deciding_libraries())
    level = f"eps{config.target_epsilon:g}" if config.target_epsilon is not None else config.kind
    architecture, sign, file = init_name.partition(".file:")
    # of weights in a file the start of its name is enough to read
    read = re.sub(r"[^\w.@-]+", "_", f"{architecture}.{Path(file).stem[:40]}" if sign else init_name)
    return f"{config.dataset}-{read}-{config.head}-{level}-s{config.seed}-{key}"


def _deciding_code() -> str:
    return imported_source_key(__name__)  # without scoring and evaluation: another way of these trains nothing again


def recorded(
    config: RunConfig,
    places: StudyPlaces,
    *,
    progress: bool = False,
    ranks: Ranks = ALONE,
    checkpoint_every: float = 60.0,
) -> Path:
    """Folder of the record of one run, trained now unless it is there; after a kill, on from its last checkpoint.

    With several ranks all of them train; then the first writes the record, and the others return the folder that it
    is going to be in. The arguments are those of ``runs.run_one``.

    Raises:
        UserError: The initialisation cannot be had, the training set is not the one that the specification was made
            for, or the checkpoint is of other code, data or choices.
        PrivacyEngineError: The engine failed its check before training.
        DivergedError: As ``train``.
    """
    run_id = run_key(config, places)
    final = places.runs / run_id
    record, left_over = final / "record.json", checkpoint_path(config, places)
    if from_first(ranks, lambda: record.exists() and not left_over.exists()):
        return final
    start = start_of_run(config, places)
    compute = find_compute(config.precision, ranks.local_rank)
    place = checkpoint_place(config, start, compute, places, checkpoint_every)
    with only_writer(place) if ranks.is_first else nullcontext():
        if from_first(ranks, record.exists):  # by a process that was waited for, or killed before it could clean up
            if ranks.is_first:
                remove_checkpoint(place)
            return final
        certificate = from_first(ranks, lambda: _certificate(config))
        started = time.perf_counter()
        training = _train(config, start, compute, open_store(places.store(config.dataset)), place, ranks, progress)
        if ranks.is_first:
            seconds = {"training": time.perf_counter() - started}
            if training.trace is not None:
                seconds["loading"] = training.trace.seconds_loading
            _record(run_id, config, start, places, certificate, training, seconds)
            remove_checkpoint(place)
    return final


def _certificate(config: RunConfig) -> PrivacyCertificate | None:
    if config.privacy is None or config.target_epsilon is None:
        return None
    # remembered: runs of a grid share a few mechanisms, whose certificates take seconds each
    return remembered_certificate(config.privacy, config.privacy.n_units_declared, config.target_epsilon)


def checkpoint_path(config: RunConfig, places: StudyPlaces) -> Path:
    """Where the checkpoint of a run is: named by its choices and its store, so that changed code still finds it."""
    key = content_key(config, str(places.store(config.dataset).resolve()))  # however many links lead there
    return places.runs / ".checkpoints" / f"{config.dataset}-{config.kind}-s{config.seed}-{key}.pt"


def checkpoint_place(
    config: RunConfig, start: Initialisation, compute: Compute, places: StudyPlaces, every_seconds: float
) -> CheckpointPlace:
    """The checkpoint of a run, and all that its draws, gradients and noise depend on."""
    data = content_key(read_description(places.store(config.dataset)))
    transform = content_key(start.input_transform)
    identity = {
        "code": _deciding_code(),
        "libraries": ", ".join(f"{name} {version}" for name, version in deciding_libraries().items()),
        "data": f"{config.dataset} {data}",
        "initialisation": f"{config.init_name} {start.weights_key} {transform}",
        "privacy specification": content_key(config.privacy),
        "choices": content_key(config),
        "device": compute.device.type,
    }
    return CheckpointPlace(checkpoint_path(config, places), identity, every_seconds)


def _record(
    run_id: str,
    config: RunConfig,
    start: Initialisation,
    places: StudyPlaces,
    certificate: PrivacyCertificate | None,
    training: _Training,
    seconds: dict[str, float],
) -> None:
    """Leave the whole record."""
    for leftover in places.runs.glob(f".{glob.escape(run_id)}.*"):  # of a process that was killed here
        shutil.rmtree(leftover)
    split_hash = read_description(places.store(config.dataset))["split_hash"]
    with whole_folder(places.runs / run_id, "record.json") as folder:
        if training.trace is not None:
            training.trace.ledger.to_parquet(folder / "ledger.parquet")
            training.trace.diagnostics.to_parquet(folder / "diagnostics.parquet")
        write_weights_of(folder, start.model)
        record = RunRecord(
            run_id=run_id,
            config=config,
            init_label=label_of(config.init_name),
            data={
                "store": config.dataset,
                "split_hash": split_hash,
                "n_images_trained_on": training.n_images,
                "weights_sha256": file_sha256(folder / WEIGHTS_FILE),
            },
            certificate=asdict(certificate) if certificate else None,
            privacy_statement=privacy_statement(certificate, randomness=config.randomness) if certificate else None,
            selfcheck=training.selfcheck,
            versions={**versions(), "commit": git_state()},
            seconds=seconds,
        )
        write_record_json(folder, record)


@dataclass(frozen=True)
class _Training:
    """What training leaves besides the weights; ``trace`` is None where nothing was trained."""

    selfcheck: list[dict]
    n_images: int
    trace: TrainingTrace | None


def _train(
    config: RunConfig,
    start: Initialisation,
    compute: Compute,
    store: ImageStore,
    place: CheckpointPlace,
    ranks: Ranks,
    progress: bool,
) -> _Training:
    """Train in place, from the checkpoint at ``place`` if there is one."""
    if config.kind == "public_only":
        return _Training([], 0, None)
    # the checkpoint knows the images by the description of their store, so it must be true of every byte
    from_first(ranks, lambda: check_images(store))
    rows = training_rows(store, config.train_fraction)
    patient_ids = store.cohort["patient_id"].to_numpy()[rows]
    data = TrainingData(store.images, labels_of(store, rows), rows=rows, patient_ids=patient_ids)
    checks = []
    if config.privacy is not None:
        if config.privacy.privacy_unit == "patient":
            check_patients_known(store)
        _check_declared(config.privacy, units_of(config.privacy, patient_ids).n_units)
        shape = (start.input_transform.in_chans, *data.images.shape[1:])
        prepare_model(start.model, compute)  # what is checked is what will run, where it will run
        checks = [asdict(check) for check in brief_selfcheck(start.model, shape)]
    trace = train(
        start.model,
        data,
        config,
        start.input_transform,
        progress=progress,
        checkpoint=place,
        ranks=ranks,
        compute=compute,
    )
    return _Training(checks, len(rows), trace)


def _check_declared(specification: PrivacySpecification, found: int) -> None:
    # The guarantee holds for any size; far from the one declared, draws and divisor no longer fit each other. Samplers
    # that cut a known number of units have another rate at another size.
    declared, unit = specification.n_units_declared, specification.privacy_unit
    tolerated = 0.1 * declared if specification.sampler in ("poisson", "balls_and_bins") else 0
    if abs(found - declared) > tolerated:
        raise UserError(
            f"the privacy specification was made for {declared} {unit}s, the training set has {found}; "
            f"calibrate again with n_units near {found}"
        )
