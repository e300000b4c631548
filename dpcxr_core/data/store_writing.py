"""Writing an image store so that a run killed at any moment continues where it stopped.

While a store ``X`` is being written, the folder ``X.partial`` holds ``begun.json`` (the choices it was begun
with), ``journal.jsonl`` (one line for each chunk that is safely on disk) and ``store/`` (what becomes ``X``).
Images are only appended. The journal line follows once they are on disk, so whatever lies beyond the journal
is cut off on resumption. The last step renames ``store/`` to ``X``: a folder ``X`` is always a whole store.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from dpcxr_core.config import UserError, content_key
from dpcxr_core.data.cohort import cohort_counts
from dpcxr_core.data.splits import check_patient_disjoint, split_hash
from dpcxr_core.data.store import (
    COHORT_FILE,
    DESCRIPTION_FILE,
    IMAGES_FILE,
    REFUSED_FILE,
    ImageStore,
    file_sha256,
    open_store,
)
from dpcxr_core.files import write_json
from dpcxr_core.tables import COHORT, checked

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Rendered:
    """The images of some rows, less those that cannot be read.

    Attributes:
        images: ``(n_read, size, size)`` uint8, in the order of the rows.
        refused: Row -> why it has no image.
    """

    images: np.ndarray
    refused: Mapping[int, str] = field(default_factory=dict)


@dataclass
class _Progress:
    """What the journal says is safely on disk."""

    rows_done: int = 0
    n_images: int = 0
    refused: dict[int, str] = field(default_factory=dict)

    def add(self, entry: dict[str, Any]) -> None:
        self.rows_done, self.n_images = entry["rows_done"], entry["n_images"]
        self.refused.update((row, reason) for row, reason in entry["refused"])


def write_store(
    out: Path,
    cohort: pd.DataFrame,
    render: Callable[[np.ndarray], Rendered],
    *,
    size: int,
    recipe: Mapping[str, Any],
    choices: Mapping[str, Any] = _NOTHING,
    companions: Mapping[str, pd.DataFrame] = _NOTHING,
    chunk: int = 256,
    progress: bool = True,
) -> ImageStore:
    """The finished image store in the folder ``out``: written, continued, or found there already.

    Promise:
        A call after a kill at any moment gives the files, byte for byte, of a call that was not killed, and
        renders no chunk twice that was on disk. Rows with no readable picture are left out of the store and
        named in ``refused.csv``.

    Args:
        out: The folder to make; its parent is made if needed.
        cohort: One row per image, patients in one split only.
        render: Positions in ``cohort`` -> their images. Called in order of rows; must be deterministic.
        size: Height and width of an image in pixels.
        recipe: What ``render`` does to a picture, as JSON values; hashed.
        choices: What shaped ``cohort``, as JSON values: named when a later call differs.
        companions: Further tables with the rows of ``cohort``, each written to ``<name>.parquet``.
        chunk: Images between two points of resumption.
        progress: Whether to show a progress bar.

    Raises:
        UserError: ``out`` holds something else, or was begun or finished with other choices; another process
            is writing it; the disk is too small; more than half of the pictures cannot be read.
    """
    out = Path(out)
    cohort = checked(cohort, COHORT).reset_index(drop=True)
    check_patient_disjoint(cohort)
    begun = _begun_with(cohort, size, recipe, choices)
    partial = out.with_name(out.name + ".partial")
    if (out / DESCRIPTION_FILE).is_file():
        store = open_store(out)
        _refuse_differences(out, dict(store.description), begun)
        shutil.rmtree(partial, ignore_errors=True)  # left by a kill after the renaming
        return store
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an image store. Choose another folder, or empty this one.")
    (partial / "store").mkdir(parents=True, exist_ok=True)
    with _locked(partial):
        _begin_or_continue(partial, begun)
        done = _append_images(partial, render, len(cohort), size, chunk, progress)
        _refuse_unreadable(partial, cohort, done.refused)
        _write_tables(partial / "store", cohort, done, begun, companions)
        os.replace(partial / "store", out)
        shutil.rmtree(partial)
    return open_store(out)


def subset_store(store: ImageStore, rows: np.ndarray, out: Path, dataset_name: str) -> ImageStore:
    """A store in the folder ``out`` with ``rows`` of ``store``, in that order, under another name."""
    tables = {
        name: pd.read_parquet(store.path / f"{name}.parquet").iloc[rows].reset_index(drop=True)
        for name in store.description["companions"]
    }
    return write_store(
        out,
        store.cohort.iloc[rows].assign(dataset=dataset_name),
        lambda part: Rendered(np.asarray(store.images[rows[part]])),
        size=store.description["size"],
        recipe=store.description["recipe"],
        choices={**store.description["choices"], "taken_from": store.description["dataset"]},
        companions=tables,
        progress=False,
    )


def _begun_with(
    cohort: pd.DataFrame, size: int, recipe: Mapping[str, Any], choices: Mapping[str, Any]
) -> dict[str, Any]:
    if cohort["dataset"].nunique() != 1:
        raise UserError(f"a store holds one data set; the cohort has {cohort['dataset'].nunique()}")
    return {
        "dataset": cohort["dataset"].iloc[0],
        "size": size,
        "recipe": dict(recipe),
        "recipe_hash": content_key(dict(recipe)),
        "choices": dict(choices),
        "n_listed": len(cohort),
        "listed_sha256": hashlib.sha256(cohort.to_csv(index=False).encode()).hexdigest(),
    }


def _refuse_differences(folder: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    old = {**there, **there["choices"]}
    new = {**here, **here["choices"]}
    names = [name for name in new if name != "choices" and old.get(name) != new[name]]
    if not names:
        return
    said = [name for name in names if name not in ("recipe_hash", "listed_sha256")]
    differences = "; ".join(f"{name} was {old.get(name)!r}, is now {new[name]!r}" for name in said)
    raise UserError(
        f"{folder} was begun with other choices: {differences or 'the cohort table or its files changed'}. "
        f"Give another output folder, or delete {folder}."
    )


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    with (partial / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it when the process dies
        except BlockingIOError:
            raise UserError(f"another process is writing {partial}. Wait for it to end.") from None
        yield


def _begin_or_continue(partial: Path, begun: dict[str, Any]) -> None:
    path = partial / "begun.json"
    if path.is_file():
        _refuse_differences(partial, json.loads(path.read_text(encoding="utf-8")), begun)
    else:
        write_json(path, begun)


def _append_images(
    partial: Path,
    render: Callable[[np.ndarray], Rendered],
    n_rows: int,
    size: int,
    chunk: int,
    progress: bool,
) -> _Progress:
    bar = tqdm(total=n_rows, unit="image", desc=partial.stem, disable=not progress)
    with (
        (partial / "journal.jsonl").open("a+b") as journal,
        (partial / "store" / IMAGES_FILE).open("a+b") as images,
        bar,
    ):
        done = _read_journal(journal)
        _cut_to_journal(images, done, size, n_rows)
        bar.update(done.rows_done)
        for start in range(done.rows_done, n_rows, chunk):
            rows = np.arange(start, min(start + chunk, n_rows))
            rendered = render(rows)
            _check_rendered(rendered, rows, size)
            _append(images, rendered.images.tobytes())
            entry = {
                "rows_done": int(rows[-1]) + 1,
                "n_images": done.n_images + len(rendered.images),
                "refused": [[int(row), rendered.refused[row]] for row in sorted(rendered.refused)],
            }
            _append(journal, json.dumps(entry).encode() + b"\n")
            done.add(entry)
            bar.update(len(rows))
    return done


def _append(file: IO[bytes], content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _read_journal(journal: IO[bytes]) -> _Progress:
    """What the whole lines say; a last line without its end was cut off by a kill and is removed."""
    journal.seek(0)
    content = journal.read()
    whole = content[: content.rfind(b"\n") + 1]
    journal.truncate(len(whole))
    done = _Progress()
    for line in whole.splitlines():
        done.add(json.loads(line))
    return done


def _cut_to_journal(images: IO[bytes], done: _Progress, size: int, n_rows: int) -> None:
    n_bytes = images.seek(0, os.SEEK_END)
    header = npy_header(0, size)
    if done.n_images == 0:
        images.truncate(0)
        _append(images, header)
        n_bytes = len(header)
    kept = len(header) + done.n_images * size * size
    if n_bytes < kept:
        raise UserError(f"{images.name} is shorter than its journal says. Delete {Path(images.name).parents[1]}.")
    images.truncate(kept)
    wanted = (n_rows - done.rows_done) * size * size
    free = shutil.disk_usage(Path(images.name).parent).free
    if wanted > free:
        raise UserError(
            f"{wanted / 1e9:.1f} GB are still to be written to {images.name}; {free / 1e9:.1f} GB are free. "
            "Make room or give another output folder."
        )


def npy_header(n_images: int, size: int) -> bytes:
    """The header of an ``.npy`` file of ``n_images``; as long for any number, so that it can be replaced."""
    header = io.BytesIO()
    shape = (n_images, size, size)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _check_rendered(rendered: Rendered, rows: np.ndarray, size: int) -> None:
    expected = (len(rows) - len(rendered.refused), size, size)
    if rendered.images.shape != expected or rendered.images.dtype != np.uint8:
        raise ValueError(f"render gave {rendered.images.shape} {rendered.images.dtype}, not {expected} uint8")
    if not set(rendered.refused) <= set(rows.tolist()):
        raise ValueError("render refused rows it was not asked for")


def _refuse_unreadable(partial: Path, cohort: pd.DataFrame, refused: dict[int, str]) -> None:
    if 2 * len(refused) <= len(cohort):
        return
    shutil.rmtree(partial)  # so that a call after the cure reads them again
    reasons = ", ".join(f"{n} {reason}" for reason, n in Counter(refused.values()).most_common(3))
    first = cohort["path"].fillna(cohort["image_id"]).iloc[min(refused)]
    raise UserError(
        f"{len(refused)} of {len(cohort)} pictures cannot be used ({reasons}; first: {first}). "
        "More than half is taken for a wrong folder: check the source and call again."
    )


def _write_tables(
    folder: Path,
    cohort: pd.DataFrame,
    done: _Progress,
    begun: dict[str, Any],
    companions: Mapping[str, pd.DataFrame],
) -> None:
    for left in folder.iterdir():
        if left.name != IMAGES_FILE:  # tables that a killed call was writing
            left.unlink()
    with (folder / IMAGES_FILE).open("r+b") as images:
        images.write(npy_header(done.n_images, begun["size"]))
    rows = sorted(done.refused)
    refused = cohort.iloc[rows][["image_id", "path"]].assign(reason=[done.refused[row] for row in rows])
    refused.to_csv(folder / REFUSED_FILE, index=False)
    kept = cohort.drop(index=rows).reset_index(drop=True)
    kept.to_parquet(folder / COHORT_FILE, index=False)
    for name, table in companions.items():
        if len(table) != len(cohort):
            raise ValueError(f"companion {name!r} has {len(table)} rows, the cohort {len(cohort)}")
        table.reset_index(drop=True).drop(index=rows).to_parquet(folder / f"{name}.parquet", index=False)
    description = {
        **begun,
        "n_images": done.n_images,
        "n_refused": len(rows),
        "counts": cohort_counts(kept),
        "split_hash": split_hash(kept),
        "cohort_sha256": file_sha256(folder / COHORT_FILE),
        "images_sha256": file_sha256(folder / IMAGES_FILE),
        "companions": sorted(companions),
        "created_by": f"dpcxr-core {version('dpcxr-core')}",
    }
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
