"""From the official files of a data set to a finished image store, with a report of what was read and refused."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import OfficialCohort, OfficialTable, SplitChoice, cohort_of
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.pictures.picture_reading import ListedPicture, OpenPicture, PictureReading, open_file
from dpcxr_core.data.pictures.recipes import recipe_for
from dpcxr_core.data.policies import policy_named
from dpcxr_core.data.sources.chestmnist import read_chestmnist, read_chestmnist_picture
from dpcxr_core.data.sources.chestxray14 import read_chestxray14
from dpcxr_core.data.sources.chexpert import read_chexpert
from dpcxr_core.data.sources.mimic_cxr_jpg import read_mimic_cxr_jpg
from dpcxr_core.data.sources.own_hospital import read_own
from dpcxr_core.data.sources.own_manifest import own_facts
from dpcxr_core.data.sources.padchest import read_padchest
from dpcxr_core.data.sources.picture_files import leaves_source, said_of_links
from dpcxr_core.data.sources.taix_ray import read_taix_ray, read_taix_ray_picture
from dpcxr_core.data.sources.uka_cxr import read_uka_cxr
from dpcxr_core.data.sources.vindr_cxr import read_vindr_cxr
from dpcxr_core.data.store import DESCRIPTION_FILE
from dpcxr_core.data.storing.in_processes import in_processes
from dpcxr_core.data.storing.prepare_report import PrepareReport, read_report, reported
from dpcxr_core.data.storing.shard_joining import find_shards, join_shards
from dpcxr_core.data.storing.shards import WHOLE, Shard, store_folder
from dpcxr_core.data.storing.store_writing import Rendered, check_choices, most_of, write_store

ReadTables = Callable[[Path, Mapping[str, Any]], OfficialTable]

OWN = "own"
DATASETS: dict[str, tuple[ReadTables, OpenPicture]] = {
    "chestxray14": (read_chestxray14, open_file),
    "chexpert": (read_chexpert, open_file),
    "padchest": (read_padchest, open_file),
    "vindr_cxr": (read_vindr_cxr, open_file),
    "mimic_cxr_jpg": (read_mimic_cxr_jpg, open_file),
    "uka_cxr": (read_uka_cxr, open_file),
    "taix_ray": (read_taix_ray, read_taix_ray_picture),
    "chestmnist": (read_chestmnist, read_chestmnist_picture),
    OWN: (read_own, open_file),
}
_CRASHED: np.ndarray | str = "the decoder crashed"


def prepare_official(
    dataset: str,
    source: Path | None,
    out: Path,
    *,
    size: int,
    recipe: str = "corrected",
    policy: str | None = None,
    split: SplitChoice | None = None,
    manifest: Path | None = None,
    shard: Shard = WHOLE,
    jobs: int = 1,
    progress: bool = True,
) -> PrepareReport:
    """The report of preparing the files of a data set in ``source`` into the image store ``out``.

    Pictures that are missing or cannot be read, even those that crash their decoder, are counted, named in
    ``refused.csv`` and left out. A call after a kill continues; a call on a finished store with the same choices does
    nothing. The files are the same for any ``jobs``.

    Args:
        dataset: A key of ``DATASETS``.
        source: Folder in the official layout; nothing outside it is read. None where the manifest of "own" names it.
        out: Folder of the store; of a shard's store beside it, where there is more than one.
        size: Height and width of the stored images in pixels, 16 to 2048.
        recipe: "corrected" or "as_published", see ``dpcxr_core.data.pictures.recipes``.
        policy: What the label codes mean, by its name in the manifest; without it, the manifest's default.
        split: Who trains, validates and tests; without it, the manifest's default.
        manifest: The user's manifest, for "own" only.
        shard: Which of the pictures are read.
        jobs: Processes that decode, at least 1; decoders never run in this one.
        progress: Whether to say how far it is with the pictures; with DICOM headers it is always said.

    Raises:
        UserError: A choice is out of range, the source is not as documented, more than half of the pictures
            cannot be used, nobody is left to train on, a split that is drawn has no patient, or ``out`` was made
            with other choices.
    """
    check_choices(size, jobs)
    out = store_folder(out)
    facts = facts_for(dataset, manifest)
    chosen = recipe_for(recipe, facts.get("already_equalised", False))
    source = _source_of(dataset, source, facts)
    split = split or SplitChoice(recipe=facts["default_split"])
    labels = policy_named(facts, policy)
    read_tables, open_picture = DATASETS[dataset]
    official = cohort_of(read_tables(source, facts), facts, labels, split)
    _refuse_no_training(dataset, official.cohort["split"])
    _refuse_empty_draws(dataset, official)
    _refuse_mostly_missing(source, official.cohort["path"], official.counts.get("links_out_of_source", 0))
    folder = shard.folder(out)
    already_finished = (folder / DESCRIPTION_FILE).is_file()
    reading = PictureReading(source, open_picture, chosen.render, size)
    store = write_store(
        folder,
        official.cohort,
        lambda chunks: _rendered(official.cohort, reading, facts.get("bad_files", {}), chunks, jobs),
        size=size,
        recipe=chosen.steps,
        choices={"policy": labels.name, **_choices_of(split)},
        patient_ids=official.patient_ids,
        shard=shard,
        progress=progress,
    )
    return reported(store, official.unlisted, official.counts, already_finished=already_finished)


def join_prepared(out: Path, *, progress: bool = True) -> PrepareReport:
    """The report of joining all shards of ``out``; the store and its report are those of a run without shards.

    A join that was killed before its report writes it when it is called again.

    Raises:
        UserError: See ``dpcxr_core.data.storing.shard_joining.join_shards``; or no shard has a report.
    """
    already_finished = (Path(out) / DESCRIPTION_FILE).is_file()
    store = join_shards(out, progress=progress)
    said = read_report(store.path)
    if said is None:  # tables are read whole for every shard, so that each report says the same of them
        reports = (read_report(shard.path) for shard in find_shards(store.path))
        said = next((report for report in reports if report is not None), None)
    if said is None:
        raise UserError(f"no shard of {store.path} has its report.json. Prepare any of them again: it takes no time.")
    return reported(store, said["unlisted"], said["counts"], already_finished=already_finished)


def facts_for(dataset: str, manifest: Path | None) -> dict[str, Any]:
    """What is stated about a data set: by its manifest here, or for "own" by the user's.

    Raises:
        UserError: No such data set; "own" without a manifest, or another with one.
    """
    if dataset not in DATASETS:
        raise UserError(f"there is no data set {dataset!r}; choose one of {', '.join(DATASETS)}")
    if dataset == OWN:
        if manifest is None:
            raise UserError("own needs --manifest, a YAML file like data_manifests/own_example.yaml")
        return own_facts(Path(manifest))
    if manifest is not None:
        raise UserError(f"{dataset} has a manifest of its own; --manifest goes with --dataset {OWN}")
    return facts_of(dataset)


def _source_of(dataset: str, source: Path | None, facts: Mapping[str, Any]) -> Path:
    if source is not None:
        return Path(source)
    if facts.get("source"):
        return Path(facts["source"])
    access = facts.get("access", "")
    steps = access if isinstance(access, str) else "; ".join(f"{n}. {step}" for n, step in enumerate(access, 1))
    raise UserError(f"{dataset} needs --source, the folder of its files. To get them: {steps}")


def _choices_of(split: SplitChoice) -> dict[str, Any]:
    values = {("split" if name == "recipe" else name): value for name, value in asdict(split).items()}
    if split.recipe == "official":
        del values["test_fraction"]  # the published test set has no part in it
    return values


def _refuse_no_training(dataset: str, splits: pd.Series) -> None:
    if not (splits == "train").any():
        counts = ", ".join(f"{n} {split}" for split, n in splits.value_counts().items())
        raise UserError(
            f"none of the {len(splits)} images of {dataset} would train ({counts}). "
            "Check the split column, or draw smaller shares of more patients: --split patients."
        )


def _refuse_empty_draws(dataset: str, official: OfficialCohort) -> None:
    """Said before hours of decoding: a store without these splits has no decision thresholds and no results."""
    splits = official.cohort["split"]
    empty = [split for split in official.drawn if not (splits == split).any()]
    if not empty:
        return
    n_patients = official.cohort["patient_id"].nunique()
    ids = f"{n_patients} patient id{'s' if n_patients > 1 else ''}"
    shares = " and ".join(f"--{split}-fraction" for split in empty)
    cure = f"Prepare more patients, or draw larger shares: {shares}."
    if dataset == OWN and official.patient_ids == "recorded":
        cure += (
            " If there are more, these ids do not tell them apart (de-identified: all alike). State in the manifest a "
            "column that does, or in 'patient' a part of the file name; or 'patient: none', by which each image counts "
            "as a patient of its own, and a person may be in training and in test."
        )
    raise UserError(
        f"the {len(splits)} images of {official.cohort['dataset'].iloc[0]} have {ids}, of which a split by patient "
        f"leaves none for {' and '.join(empty)}. {cure}"
    )


def _refuse_mostly_missing(source: Path, paths: pd.Series, n_links_out: int) -> None:
    """Said before hours of decoding: an archive was probably not unpacked."""
    n_missing = int(paths.isna().sum())
    if most_of(n_missing, len(paths)):
        raise UserError(
            f"{n_missing} of {len(paths)} listed pictures are not in {source}. "
            f"Unpack every archive there, in the folders that the manifest names.{said_of_links(n_links_out)}"
        )


def _rendered(
    cohort: pd.DataFrame, reading: PictureReading, bad_files: Mapping[str, str], chunks: Iterator[np.ndarray], jobs: int
) -> Iterator[Rendered]:
    """The images of each chunk of rows, read in processes."""
    under_way: deque[np.ndarray] = deque()

    def listed() -> Iterator[list[ListedPicture]]:
        for rows in chunks:
            under_way.append(rows)
            part = cohort.iloc[rows]
            yield [listed_picture(*each, bad_files) for each in zip(part["image_id"], part["path"], strict=True)]

    with closing(in_processes(reading, listed(), jobs, _CRASHED)) as results:
        for pictures in results:
            yield _sorted_out(under_way.popleft(), pictures, reading.size)


def listed_picture(image_id: str, path: str | None, bad_files: Mapping[str, str]) -> ListedPicture:
    """What is to be read for a row of a cohort table, or why nothing is.

    Args:
        image_id: Its name in the table.
        path: Relative to the source; missing where no such file was found.
        bad_files: SHA-256 of a file's name -> why it cannot be used.
    """
    if leaves_source(path if isinstance(path, str) else image_id):
        return ListedPicture("", "the name leads out of the source folder")
    if not isinstance(path, str):
        return ListedPicture("", "no such file among the pictures")
    reason = bad_files.get(hashlib.sha256(PurePosixPath(path).name.encode()).hexdigest(), "") if bad_files else ""
    return ListedPicture(path, reason)


def _sorted_out(rows: np.ndarray, pictures: list[np.ndarray | str], size: int) -> Rendered:
    images = [picture for picture in pictures if isinstance(picture, np.ndarray)]
    refused = {int(row): why for row, why in zip(rows, pictures, strict=True) if isinstance(why, str)}
    return Rendered(np.stack(images) if images else np.empty((0, size, size), dtype=np.uint8), refused)
