"""Writing an image store so that a run killed at any moment continues where it stopped.

While a store ``X`` is being written, the folder ``X.partial`` holds ``begun.json`` (the choices it was begun
with), ``journal.jsonl`` (one line for each chunk that is safely on disk) and ``store/`` (what becomes ``X``).
Images are only appended. The journal line follows once they are on disk, so whatever lies beyond the journal
is cut off on resumption. The last step renames ``store/`` to ``X``: a folder ``X`` is always a whole store.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dpcxr_core.config import UserError, content_key
from dpcxr_core.data.progress import progress_of
from dpcxr_core.data.splits import check_patient_disjoint
from dpcxr_core.data.store import DESCRIPTION_FILE, IMAGES_FILE, REFUSED_FILE, ImageStore, open_store
from dpcxr_core.data.storing.shards import WHOLE, Shard, store_folder
from dpcxr_core.data.storing.store_finishing import finish_store, made_by, npy_header
from dpcxr_core.data.storing.store_journal import append_chunk, cut_to_good, read_journal
from dpcxr_core.files import write_json
from dpcxr_core.locks import held
from dpcxr_core.tables import COHORT, checked

_NOTHING: Mapping[str, Any] = MappingProxyType({})
SIZE_LIMITS = (16, 2048)
_BYTES_A_CHUNK = 1 << 24  # of stored images; several chunks are held at once
_MOST_A_CHUNK = 128  # images; a kill loses the chunks under way, and a crash has them tried one by one
_ROWS_A_TEXT = 50_000


@dataclass(frozen=True)
class Rendered:
    """The images of some rows, less those that cannot be read.

    Attributes:
        images: ``(n_read, size, size)`` uint8, in the order of the rows.
        refused: Row -> why it has no image.
    """

    images: np.ndarray
    refused: Mapping[int, str] = field(default_factory=dict)


Render = Callable[[Iterator[np.ndarray]], Iterable[Rendered]]


def write_store(
    out: Path,
    cohort: pd.DataFrame,
    render: Render,
    *,
    size: int,
    recipe: Mapping[str, Any],
    choices: Mapping[str, Any] = _NOTHING,
    companions: Mapping[str, pd.DataFrame] = _NOTHING,
    patient_ids: str = "recorded",
    shard: Shard = WHOLE,
    chunk: int | None = None,
    progress: bool = True,
) -> ImageStore:
    """The finished image store in the folder ``out``: written, continued, or found there already.

    Promise:
        A call after a kill at any moment gives the files, byte for byte, of a call that was not killed, and
        renders no chunk twice that is on disk. Rows with no readable picture are left out of the store and named in
        ``refused.csv``, or in ``<out>.refused.csv`` where they are so many that no store is made. Memory does not
        grow with the images, only with the rows of ``cohort``.

    Args:
        out: The folder to make; its parent is made if needed.
        cohort: One row per image, patients in one split only.
        render: From chunks of positions in ``cohort`` to their images, one for one and in order; taken from as it
            goes. ``partial(map, draw)`` makes one of a function of a chunk. Must be deterministic.
        size: Height and width of an image in pixels.
        recipe: What ``render`` does to a picture, as JSON values; hashed.
        choices: What shaped ``cohort``, as JSON values: named when a later call differs.
        companions: Further tables with the rows of ``cohort``, each written to ``<name>.parquet``.
        patient_ids: "recorded", or what stands for a patient in this data set: "none" where each image is its own.
        shard: Which of the rows are written; ``out`` is then ``shard.folder`` of the whole store.
        chunk: Images between two points of resumption; without it, what fits into some megabytes.
        progress: Whether to say how far it is.

    Raises:
        UserError: ``out`` holds something else, or was begun or finished with other choices; another process
            is writing it; the disk is too small or fails; more than half of the pictures cannot be read.
    """
    out = store_folder(out)
    cohort = checked(cohort, COHORT).reset_index(drop=True)
    check_patient_disjoint(cohort)
    begun = _begun_with(cohort, size, recipe, choices, patient_ids, shard)
    under_way = out.with_name(out.name + ".partial")
    if (out / DESCRIPTION_FILE).is_file():
        store = open_store(out)
        _refuse_differences(out, dict(store.description), {**begun, "made_by": store.description.get("made_by")})
        shutil.rmtree(under_way, ignore_errors=True)  # left by a kill after the renaming
        return store
    refuse_occupied(out)
    (under_way / "store").mkdir(parents=True, exist_ok=True)
    with locked(under_way):
        _begin_or_continue(under_way, begun)
        rows = shard.rows(len(cohort))
        _append_images(under_way, render, rows, size, chunk or _rows_at_once(size), progress)
        _finish(under_way, cohort, begun, companions, rows)
        os.replace(under_way / "store", out)
        _refused_beside(out).unlink(missing_ok=True)  # of an earlier call, before the cure
        shutil.rmtree(under_way)
    return open_store(out)


def check_choices(size: int, jobs: int) -> None:
    """Nothing, if a store can have images of ``size`` pixels and ``jobs`` can make it; said before any work.

    Raises:
        UserError: One is out of range.
    """
    if not SIZE_LIMITS[0] <= size <= SIZE_LIMITS[1]:
        raise UserError(f"size must be {SIZE_LIMITS[0]} to {SIZE_LIMITS[1]} pixels; got {size}")
    if jobs < 1:
        raise UserError(f"jobs must be at least 1; got {jobs}")


def subset_store(store: ImageStore, rows: np.ndarray, out: Path, dataset_name: str) -> ImageStore:
    """A store in the folder ``out`` with ``rows`` of ``store``, in that order, under another name."""
    tables = {
        name: pd.read_parquet(store.path / f"{name}.parquet").iloc[rows].reset_index(drop=True)
        for name in store.description["companions"]
    }

    def copied(part: np.ndarray) -> Rendered:
        return Rendered(np.asarray(store.images[rows[part]]))

    return write_store(
        out,
        store.cohort.iloc[rows].assign(dataset=dataset_name),
        partial(map, copied),
        size=store.description["size"],
        recipe=store.description["recipe"],
        choices={**store.description["choices"], "taken_from": store.description["dataset"]},
        companions=tables,
        patient_ids=store.description["patient_ids"],
        progress=False,
    )


def _begun_with(
    cohort: pd.DataFrame,
    size: int,
    recipe: Mapping[str, Any],
    choices: Mapping[str, Any],
    patient_ids: str,
    shard: Shard,
) -> dict[str, Any]:
    if cohort["dataset"].nunique() != 1:
        raise UserError(f"a store holds one data set; the cohort has {cohort['dataset'].nunique()}")
    digest = hashlib.sha256()
    for start in range(0, len(cohort), _ROWS_A_TEXT):  # never the text of all rows at once
        digest.update(cohort[start : start + _ROWS_A_TEXT].to_csv(index=False, header=start == 0).encode())
    begun = {
        "dataset": cohort["dataset"].iloc[0],
        "size": size,
        "recipe": dict(recipe),
        "recipe_hash": content_key(dict(recipe)),
        "choices": dict(choices),
        "patient_ids": patient_ids,
        "n_listed": len(cohort),
        "listed_sha256": digest.hexdigest(),
        "made_by": made_by(),
    }
    return begun if shard == WHOLE else {**begun, "shard": str(shard)}


def _refuse_differences(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    found = differences({name: there.get(name) for name in here}, here)
    if found:
        raise UserError(
            f"{folder} was begun with other choices: {found}. Give another output folder, or delete {folder}."
        )


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """In words, in what two descriptions of a store differ: each choice and package by its name; "" if in nothing."""
    old, new = _flat(there), _flat(here)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    said = [name for name in names if name not in ("recipe_hash", "listed_sha256")]
    return "; ".join(f"{name} was {old.get(name)!r}, is now {new.get(name)!r}" for name in said) or (
        "the cohort table or its files changed" if names else ""
    )


def _flat(description: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(description)
    choices, packages = values.pop("choices", None) or {}, values.pop("made_by", None) or {}
    return {**values, **choices, **{f"made by {name}": value for name, value in packages.items()}}


def most_of(n_refused: int, n_listed: int) -> bool:
    """Whether so many of the listed pictures cannot be used that the folder is taken for a wrong one: over half."""
    return 2 * n_refused > n_listed


def refuse_occupied(out: Path) -> None:
    """Nothing, if ``out`` is not there or is an empty folder.

    Raises:
        UserError: It holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an image store. Choose another folder, or empty this one.")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds ``folder`` against other processes for as long as the context, or the process, lasts.

    Raises:
        UserError: Another process holds it, or its file system has no locks.
    """
    with ExitStack() as holding:
        try:
            is_mine = holding.enter_context(held(folder / "lock", wait=False, needed=True))
        except OSError as error:
            raise UserError(
                f"{folder} cannot be locked ({error}); write the store to a local disk and copy it"
            ) from None
        if not is_mine:
            raise UserError(f"another process is writing {folder}. Wait for it to end.")
        yield


def _begin_or_continue(under_way: Path, begun: dict[str, Any]) -> None:
    path = under_way / "begun.json"
    if path.is_file():
        _refuse_differences(under_way, _read_begun(path), begun)
    else:
        write_json(path, begun)


def _read_begun(path: Path) -> dict[str, Any]:
    try:
        begun = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(begun, dict) and isinstance(begun.get("choices"), dict):
            return begun
    except ValueError:
        pass
    raise UserError(f"{path} was damaged: it does not say how the store was begun. Delete {path.parent}; call again.")


def _rows_at_once(size: int) -> int:
    return max(1, min(_MOST_A_CHUNK, _BYTES_A_CHUNK // size**2))


def _append_images(under_way: Path, render: Render, rows: range, size: int, chunk: int, progress: bool) -> None:
    with (
        (under_way / "journal.jsonl").open("a+b") as journal,
        (under_way / "store" / IMAGES_FILE).open("a+b") as images,
    ):
        rows_done = cut_to_good(journal, images, npy_header(0, size), size, rows.start)
        refuse_small_disk(under_way, (rows.stop - rows_done) * size * size)
        starts = range(rows_done, rows.stop, chunk)
        chunks = [(start, min(start + chunk, rows.stop)) for start in starts]
        rendering = iter(render(np.arange(start, stop) for start, stop in chunks))
        with progress_of(under_way.stem, len(rows), rows_done - rows.start, progress) as advance:
            for (start, stop), rendered in zip(chunks, rendering, strict=True):
                _check_rendered(rendered, range(start, stop), size)
                append_chunk(journal, images, rendered.images, dict(rendered.refused), rows_done=stop)
                advance(stop - start)


def refuse_small_disk(folder: Path, wanted: int) -> None:
    """Nothing, if ``wanted`` more bytes fit on the disk of ``folder``.

    Raises:
        UserError: They do not; said before hours of work.
    """
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise UserError(
            f"{wanted / 1e9:.1f} GB are still to be written to {folder}; {free / 1e9:.1f} GB are free. "
            "Make room or give another output folder."
        )


def _check_rendered(rendered: Rendered, rows: range, size: int) -> None:
    expected = (len(rows) - len(rendered.refused), size, size)
    if rendered.images.shape != expected or rendered.images.dtype != np.uint8:
        raise ValueError(f"render gave {rendered.images.shape} {rendered.images.dtype}, not {expected} uint8")
    if not set(rendered.refused) <= set(rows):
        raise ValueError("render refused rows it was not asked for")


def _finish(
    under_way: Path, cohort: pd.DataFrame, begun: dict[str, Any], companions: Mapping[str, pd.DataFrame], rows: range
) -> None:
    done = read_journal(under_way / "journal.jsonl")
    if "shard" not in begun:  # a shard may be all of one missing archive; the whole is judged when shards are joined
        _refuse_unreadable(under_way, cohort, done.refused)
    folder = under_way / "store"
    for left in folder.iterdir():
        if left.name != IMAGES_FILE:  # tables that a killed call was writing
            left.unlink()
    gone = list(done.refused)
    _write_refused(folder / REFUSED_FILE, cohort, done.refused)
    tables = {}
    for name, table in {"cohort": cohort, **companions}.items():
        if len(table) != len(cohort):
            raise ValueError(f"companion {name!r} has {len(table)} rows, the cohort {len(cohort)}")
        table = table.reset_index(drop=True)
        # the types are those of all rows: a shard without any recorded sex has the same columns as the others
        types = pa.Schema.from_pandas(table, preserve_index=False)
        kept = table.iloc[rows.start : rows.stop].drop(index=gone)
        tables[name] = pa.Table.from_pandas(kept, schema=types, preserve_index=False)
    finish_store(folder, begun, done.checksums, tables, len(gone))


def _write_refused(path: Path, cohort: pd.DataFrame, refused: Mapping[int, str]) -> None:
    named = cohort.iloc[list(refused)][["image_id", "path"]].assign(reason=list(refused.values()))
    named.to_csv(path, index=False)


def _refused_beside(out: Path) -> Path:
    """Where the refused pictures are named if there are too many for a store to be made."""
    return out.with_name(f"{out.name}.{REFUSED_FILE}")


def _refuse_unreadable(under_way: Path, cohort: pd.DataFrame, refused: dict[int, str]) -> None:
    if not most_of(len(refused), len(cohort)):
        return
    listed = _refused_beside(under_way.with_suffix(""))
    _write_refused(listed, cohort, refused)  # hours of decoding found them
    shutil.rmtree(under_way)  # so that a call after the cure reads them again
    reasons = ", ".join(f"{n} {reason}" for reason, n in Counter(refused.values()).most_common(3))
    first = cohort["path"].fillna(cohort["image_id"]).iloc[min(refused)]
    raise UserError(
        f"{len(refused)} of {len(cohort)} pictures cannot be used ({reasons}; first: {first}). More than half is taken "
        f"for a wrong folder. Each is named with its reason in {listed}. Check the source and call again."
    )
