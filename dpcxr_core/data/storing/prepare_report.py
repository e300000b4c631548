"""What became of the files of a data set: the report of a preparation, printed and kept in the store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.store import REFUSED_FILE, ImageStore
from dpcxr_core.files import write_json

REPORT_FILE = "report.json"
_NAMED = 5  # files named in the printed summary; report.json and refused.csv name all


@dataclass(frozen=True)
class PrepareReport:
    """What became of the files of a data set.

    Attributes:
        dataset: Name of the data set.
        out: The store's folder.
        n_listed: Images of the cohort table.
        n_read: Images in the store.
        refused: Image id -> reason, for the listed images that are not in the store.
        unlisted: Files found among the pictures that no official row names.
        counts: What was set to missing or left out while reading the tables.
        splits: Split -> its images and its patients in the store.
        patient_ids: What counts as a patient: one ("recorded"), one of the "admissions", or each image ("none").
        labels: Finding -> images of the store with a label, and how many of them are positive.
        already_finished: The store was there, made with the same choices; nothing was done.
    """

    dataset: str
    out: Path
    n_listed: int
    n_read: int
    refused: Mapping[str, str]
    unlisted: Sequence[str]
    counts: Mapping[str, int]
    splits: Mapping[str, tuple[int, int]]
    patient_ids: str
    labels: Mapping[str, tuple[int, int]]
    already_finished: bool

    def text(self) -> str:
        """The summary to print: counts, reasons with the first names, splits, and each finding's prevalence."""
        lines = [f"{self.dataset}: {self.n_listed} images listed, {self.n_read} read into {self.out}"]
        if self.already_finished:
            lines.insert(0, f"{self.out} is already prepared with these choices; nothing was done.")
        for reason, n in Counter(self.refused.values()).most_common():
            names = [name for name, why in self.refused.items() if why == reason]
            lines.append(f"  refused, {reason}: {n} ({_first(names)})")
        if self.unlisted:
            lines.append(f"  found but not listed: {len(self.unlisted)} ({_first(self.unlisted)})")
        lines.extend(f"  {name.replace('_', ' ')}: {n}" for name, n in self.counts.items() if n)
        lines.extend(
            f"  {split}: {images} images{self._of(patients)}" if images else f"  {split}: no image"
            for split, (images, patients) in self.splits.items()
        )
        lines.extend(
            f"  {finding.replace('_', ' ')}: {positive} of {labelled} labelled images"
            + (f" ({positive / labelled:.1%})" if labelled else "")
            for finding, (labelled, positive) in self.labels.items()
        )
        return "\n".join(lines)

    def _of(self, patients: int) -> str:
        if self.patient_ids == "none":
            return ", patients not known"
        return f" of {patients} {'patients' if self.patient_ids == 'recorded' else self.patient_ids}"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def reported(
    store: ImageStore, unlisted: Sequence[str], counts: Mapping[str, int], *, already_finished: bool
) -> PrepareReport:
    """The report on ``store``; also written to its ``report.json``, unless that is there.

    Raises:
        UserError: The list of refused files is gone or was damaged.
    """
    refused = _refused(store)
    labels = store.cohort[list(FINDINGS)]
    report = PrepareReport(
        dataset=store.description["dataset"],
        out=store.path,
        n_listed=len(store.images) + len(refused),
        n_read=len(store.images),
        refused=dict(zip(refused["image_id"], refused["reason"], strict=True)),
        unlisted=unlisted,
        counts=counts,
        splits={split: (there["images"], there["patients"]) for split, there in store.description["counts"].items()},
        patient_ids=store.description["patient_ids"],
        labels={finding: (int(labels[finding].count()), int(labels[finding].sum())) for finding in FINDINGS},
        already_finished=already_finished,
    )
    said: dict[str, Any] = asdict(report)
    # what differs between places and calls, and what store.json says
    del said["out"], said["already_finished"], said["patient_ids"]
    if not (store.path / REPORT_FILE).is_file():  # it may have been killed between the store and its report
        write_json(store.path / REPORT_FILE, said)
    return report


def _refused(store: ImageStore) -> pd.DataFrame:
    file = store.path / REFUSED_FILE
    try:
        refused = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}). Delete {store.path} and prepare it again.") from None
    if not {"image_id", "reason"} <= set(refused) or len(refused) != store.description["n_refused"]:
        raise UserError(
            f"{file} does not name the {store.description['n_refused']} pictures that were refused. "
            f"Delete {store.path} and prepare it again."
        )
    return refused


def read_report(folder: Path) -> dict[str, Any] | None:
    """What ``report.json`` of a store says; None where a kill prevented it.

    Raises:
        UserError: It was damaged.
    """
    file = folder / REPORT_FILE
    if not file.is_file():
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        said = None
    if not isinstance(said, dict) or not {"unlisted", "counts"} <= set(said):
        raise UserError(f"{file} was damaged: it is not the report of a preparation. Delete it and call again.")
    return said
