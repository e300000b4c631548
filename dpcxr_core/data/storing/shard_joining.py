"""From the shards of a store, prepared on several machines, to the store that one machine would have written."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dpcxr_core.config import UserError
from dpcxr_core.data.progress import progress_of
from dpcxr_core.data.store import (
    CHECKSUMS_FILE,
    DESCRIPTION_FILE,
    IMAGES_FILE,
    REFUSED_FILE,
    ImageStore,
    open_store,
    read_checksums,
    verify_store,
)
from dpcxr_core.data.storing.shards import Shard, store_folder
from dpcxr_core.data.storing.store_finishing import finish_store, image_blocks, npy_header
from dpcxr_core.data.storing.store_writing import differences, locked, most_of, refuse_occupied, refuse_small_disk

_REMOVED = ".removed"  # behind a shard's name while it is deleted: what a kill leaves is never taken for a shard
# what a shard has of its own; all else must be alike
_OWN = {"shard", "n_images", "n_refused", "counts", "split_hash"} | {
    f"{each}_sha256" for each in ("cohort", "images", "checksums")
}


def join_shards(out: Path, *, progress: bool = True) -> ImageStore:
    """The store ``out`` made of all its shards, ``out.shard-1-of-N`` to ``out.shard-N-of-N``, which stay.

    Promise:
        The files are, byte for byte, those of a run without shards. The images are copied in pieces, and what was
        written is read again against their checksums. A join that was killed starts anew.

    Raises:
        UserError: A shard is missing or damaged, or was made from other tables, with other choices or by other code;
            more than half of the pictures were refused; ``out`` holds something else, or is finished and was not
            made of the shards that lie there; the disk is too small.
    """
    out = store_folder(out)
    if (out / DESCRIPTION_FILE).is_file():
        store = open_store(out)
        _refuse_unjoined(store, _finished_shards(out))
        return store
    shards = find_shards(out)
    common = _common(shards)
    n_images, n_refused = (sum(shard.description[name] for shard in shards) for name in ("n_images", "n_refused"))
    if most_of(n_refused, n_images + n_refused):
        worst = sorted(shards, key=lambda shard: -shard.description["n_refused"])[:5]
        raise UserError(
            f"{n_refused} of {n_images + n_refused} pictures were refused. More than half is taken for a wrong folder. "
            f"Each is named with its reason in {REFUSED_FILE} of its shard; most in "
            + ", ".join(f"{shard.path} ({shard.description['n_refused']})" for shard in worst)
            + ". Check the source, delete such shards and prepare them again."
        )
    refuse_occupied(out)
    under_way = out.with_name(out.name + ".joining")
    under_way.mkdir(parents=True, exist_ok=True)
    with locked(under_way):
        folder = under_way / "store"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        refuse_small_disk(under_way, n_images * common["size"] ** 2)
        _copy_images(folder / IMAGES_FILE, shards, n_images, progress)
        _copy_refused(folder / REFUSED_FILE, shards)
        checksums = np.concatenate([np.load(shard.path / CHECKSUMS_FILE, allow_pickle=False) for shard in shards])
        tables = {name: _joined(name, shards) for name in ["cohort", *common["companions"]]}
        begun = {name: value for name, value in common.items() if name != "companions"}
        try:
            finish_store(folder, begun, checksums, tables, n_refused)
        except UserError:
            for shard in shards:  # if one of them is to blame, its damaged images are named
                verify_store(shard.path)
            raise
        os.replace(folder, out)
        shutil.rmtree(under_way)
    return open_store(out)


def find_shards(out: Path) -> list[ImageStore]:
    """All shards of the store ``out``, in order.

    Raises:
        UserError: There is none, one is missing or not finished, or there are those of two ways to part the table.
    """
    out = store_folder(out)
    found = _named_beside(out, "")
    if not found:
        raise UserError(f"there is no shard of {out}, such as {Shard(1, 8).folder(out)}. Prepare them with --shard.")
    numbers = {int(path.name.rpartition("-of-")[2]) for path in found}
    if len(numbers) > 1:
        ways = " and of ".join(map(str, sorted(numbers)))
        raise UserError(f"{out} has shards of {ways}. Keep one way, delete the other.")
    of = numbers.pop()
    folders = [Shard(number, of).folder(out) for number in range(1, of + 1)]
    missing = [str(folder) for folder in folders if not (folder / DESCRIPTION_FILE).is_file()]
    if missing:
        raise UserError(f"{len(missing)} of {of} shards are missing or not finished: {', '.join(missing[:5])}")
    return [open_store(folder) for folder in folders]


def remove_shards(out: Path) -> None:
    """Deletes all shards of the finished store ``out``, once every image of theirs is known to be in it.

    Promise:
        Nothing is deleted before all is checked. A removal that was killed is finished by the next call.

    Raises:
        UserError: ``out`` is damaged, or a shard holds what is not in it; nothing was deleted.
    """
    out = store_folder(out)
    store = verify_store(out)
    shards = _finished_shards(out)
    _refuse_unjoined(store, shards)
    for left in _named_beside(out, _REMOVED):
        shutil.rmtree(left)
    for shard in shards:
        going = shard.path.with_name(shard.path.name + _REMOVED)
        os.replace(shard.path, going)
        shutil.rmtree(going)


def _named_beside(out: Path, behind: str) -> list[Path]:
    """Folders named as shards of ``out``, with ``behind`` at the end; a backup by another name is not one."""
    if not out.parent.is_dir():
        return []
    name = re.compile(re.escape(out.name) + r"\.shard-[1-9]\d*-of-[1-9]\d*" + re.escape(behind))
    return sorted(path for path in out.parent.iterdir() if name.fullmatch(path.name) and path.is_dir())


def _finished_shards(out: Path) -> list[ImageStore]:
    return [open_store(path) for path in _named_beside(out, "") if (path / DESCRIPTION_FILE).is_file()]


def _refuse_unjoined(store: ImageStore, shards: Sequence[ImageStore]) -> None:
    for shard in shards:
        found = differences(_shared(store), _shared(shard))
        if found or not _holds(store, shard):
            raise UserError(
                f"{store.path} is finished and does not hold what is in {shard.path}: "
                f"{found or 'its images or which of them were refused differ'}. "
                f"Delete the shards, or move {store.path} away and join again."
            )


def _holds(store: ImageStore, shard: ImageStore) -> bool:
    rows = pd.Index(store.cohort["image_id"]).get_indexer(shard.cohort["image_id"])
    return bool((rows >= 0).all()) and np.array_equal(read_checksums(store)[rows], read_checksums(shard))


def _common(shards: Sequence[ImageStore]) -> dict[str, Any]:
    first = _shared(shards[0])
    for shard in shards[1:]:
        found = differences(first, _shared(shard))
        if found:
            raise UserError(
                f"{shards[0].path} and {shard.path} do not belong together: {found}. "
                "Prepare the odd one again, with the same source, choices and code."
            )
    return first


def _shared(shard: ImageStore) -> dict[str, Any]:
    return {name: value for name, value in shard.description.items() if name not in _OWN}


def _copy_images(path: Path, shards: Sequence[ImageStore], n_images: int, progress: bool) -> None:
    size = shards[0].description["size"]
    header = npy_header(n_images, size)
    with path.open("wb") as joined, progress_of("joining", n_images, 0, progress) as advance:
        joined.write(header)
        for shard in shards:
            with (shard.path / IMAGES_FILE).open("rb") as images:
                images.seek(len(header))
                for block in image_blocks(images, len(shard.images), size):
                    joined.write(block.data)
                    advance(len(block))
        joined.flush()
        os.fsync(joined.fileno())


def _copy_refused(path: Path, shards: Sequence[ImageStore]) -> None:
    with path.open("wb") as joined:
        for number, shard in enumerate(shards):
            header, rows = (shard.path / REFUSED_FILE).read_bytes().split(b"\n", 1)
            joined.write(rows if number else header + b"\n" + rows)


def _joined(name: str, shards: Sequence[ImageStore]) -> pa.Table:
    # in one piece: a file of several pieces has other bytes
    return pa.concat_tables([pq.read_table(shard.path / f"{name}.parquet") for shard in shards]).combine_chunks()
