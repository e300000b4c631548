"""From a source of images to a finished image store, with a report of what was read and what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.chestxray14 import leaves_source, read_chestxray14
from dpcxr_core.data.decode import RECIPES, UnreadableImageError, read_grey
from dpcxr_core.data.simulated import render, simulate_cohort
from dpcxr_core.data.store import DESCRIPTION_FILE, REFUSED_FILE, ImageStore
from dpcxr_core.data.store_writing import Rendered, write_store
from dpcxr_core.files import write_json

REPORT_FILE = "report.json"
SIZE_LIMITS = (16, 2048)
_NAMED = 5  # files named in the printed summary; report.json and refused.csv name all


@dataclass(frozen=True)
class PrepareReport:
    """What became of the files of a data set.

    Attributes:
        dataset: Name of the data set.
        out: The store's folder.
        n_listed: Images the official table lists.
        n_read: Images in the store.
        refused: Image id -> reason, for the listed images that are not in the store.
        unlisted: Files found among the pictures that no official row names.
        counts: What was set to missing or left out while reading the tables.
        already_finished: The store was there, made with the same choices; nothing was done.
    """

    dataset: str
    out: Path
    n_listed: int
    n_read: int
    refused: Mapping[str, str]
    unlisted: tuple[str, ...]
    counts: Mapping[str, int]
    already_finished: bool

    def text(self) -> str:
        """The summary to print: counts, reasons, and the first names of each kind."""
        lines = [f"{self.dataset}: {self.n_listed} images listed, {self.n_read} read into {self.out}"]
        if self.already_finished:
            lines.insert(0, f"{self.out} is already prepared with these choices; nothing was done.")
        for reason, n in Counter(self.refused.values()).most_common():
            names = [name for name, why in self.refused.items() if why == reason]
            lines.append(f"  refused, {reason}: {n} ({_first(names)})")
        if self.unlisted:
            lines.append(f"  found but not listed: {len(self.unlisted)} ({_first(self.unlisted)})")
        lines.extend(f"  {name.replace('_', ' ')}: {n}" for name, n in self.counts.items() if n)
        return "\n".join(lines)


def _first(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def prepare_chestxray14(
    source: Path,
    out: Path,
    *,
    size: int,
    recipe: str = "corrected",
    jobs: int = 1,
    valid_fraction: float = 0.1,
    seed: int = 0,
) -> PrepareReport:
    """The report of preparing the official ChestX-ray14 files in ``source`` into the image store ``out``.

    Pictures that are missing or cannot be read are counted, named in ``refused.csv`` and left out. A call
    after a kill continues; a call on a finished store with the same choices does nothing.

    Args:
        source: Folder in the official layout; nothing outside it is read.
        out: Folder of the store.
        size: Height and width of the stored images in pixels, 16 to 2048.
        recipe: "corrected" or "as_published", see ``dpcxr_core.data.decode``.
        jobs: Pictures decoded at once, at least 1.
        valid_fraction: Share of the train_val patients that becomes the split "valid".
        seed: Seeds the draw of those patients.

    Raises:
        UserError: A choice is out of range, the source is not as documented, more than half of the pictures
            cannot be used, or ``out`` was made with other choices.
    """
    source, out = Path(source), Path(out)
    _check_choices(size, jobs)
    if recipe not in RECIPES:
        raise UserError(f"recipe must be one of {', '.join(RECIPES)}; got {recipe!r}")
    already_finished = (out / DESCRIPTION_FILE).is_file()
    official = read_chestxray14(source, valid_fraction=valid_fraction, seed=seed)
    _refuse_mostly_missing(source, official.cohort["path"])
    chosen = RECIPES[recipe]
    names, paths = official.cohort["image_id"].tolist(), official.cohort["path"].tolist()

    def picture(row: int) -> np.ndarray | str:
        try:
            return chosen.render(read_grey(_picture_path(source, names[row], paths[row])), size)
        except UnreadableImageError as error:
            return str(error)

    with ThreadPoolExecutor(jobs) as pool:  # decoding and resizing let go of the interpreter lock
        store = write_store(
            out,
            official.cohort,
            lambda rows: _sorted_out(rows, list(pool.map(picture, rows.tolist())), size),
            size=size,
            recipe=chosen.steps,
            choices={"valid_fraction": valid_fraction, "seed": seed},
        )
    return _reported(store, official.unlisted, official.counts, already_finished)


def prepare_simulated(
    out: Path,
    *,
    hospital: str,
    n_train: int,
    n_valid: int,
    n_test: int,
    seed: int,
    size: int,
    world: str = "declared",
    jobs: int = 1,
    progress: bool = True,
) -> PrepareReport:
    """The report of drawing a simulated hospital into the image store ``out``, with ``truth.parquet`` in it.

    Args:
        out: Folder of the store.
        hospital: One of the simulated hospitals, see ``dpcxr_core.data.simulated``.
        n_train: Images in the split "train".
        n_valid: Images in the split "valid".
        n_test: Images in the split "test".
        seed: Seeds patients, labels and images.
        size: Height and width of the images in pixels, 16 to 2048.
        world: "declared" or "null": what sex and age really do.
        jobs: Groups of images drawn at once, at least 1.
        progress: Whether to show a progress bar.

    Raises:
        UserError: A choice is out of range, or ``out`` was made with other choices.
    """
    out = Path(out)
    _check_choices(size, jobs)
    already_finished = (out / DESCRIPTION_FILE).is_file()
    simulation = simulate_cohort(hospital, n_train, n_valid, n_test, seed, world=world)

    with ThreadPoolExecutor(jobs) as pool:

        def drawn(rows: np.ndarray) -> Rendered:
            parts = [part for part in np.array_split(rows, jobs) if len(part)]
            return Rendered(np.concatenate(list(pool.map(lambda part: render(simulation, part, size), parts))))

        store = write_store(
            out,
            _named_by_world(simulation.cohort, hospital, world),
            drawn,
            size=size,
            recipe={"name": "simulated", "drawn_by": f"dpcxr-core {version('dpcxr-core')}"},
            choices={"hospital": hospital, "world": world, "seed": seed, "n": [n_train, n_valid, n_test]},
            companions={"truth": _named_by_world(simulation.truth, hospital, world)},
            progress=progress,
        )
    return _reported(store, (), {}, already_finished)


def _named_by_world(table: pd.DataFrame, hospital: str, world: str) -> pd.DataFrame:
    """``table`` with names of its own for another world, so that two worlds of a hospital can be told apart."""
    if world == "declared":
        return table
    names = [name for name in ("dataset", "image_id", "patient_id") if name in table]
    return table.assign(**{name: table[name].str.replace(hospital, f"{hospital}-{world}") for name in names})


def _check_choices(size: int, jobs: int) -> None:
    if not SIZE_LIMITS[0] <= size <= SIZE_LIMITS[1]:
        raise UserError(f"size must be {SIZE_LIMITS[0]} to {SIZE_LIMITS[1]} pixels; got {size}")
    if jobs < 1:
        raise UserError(f"jobs must be at least 1; got {jobs}")


def _refuse_mostly_missing(source: Path, paths: pd.Series) -> None:
    """Said before hours of decoding: an archive was probably not unpacked."""
    n_missing = int(paths.isna().sum())
    if 2 * n_missing > len(paths):
        raise UserError(
            f"{n_missing} of {len(paths)} listed pictures are not in {source}. "
            "Unpack every archive into images/ or images_*/images/ there."
        )


def _picture_path(source: Path, name: str, path: str | None) -> Path:
    if leaves_source(name):
        raise UnreadableImageError("the name leads out of the source folder")
    if path is None or pd.isna(path):
        raise UnreadableImageError("no such file among the pictures")
    return source / path


def _sorted_out(rows: np.ndarray, pictures: list[np.ndarray | str], size: int) -> Rendered:
    images = [picture for picture in pictures if isinstance(picture, np.ndarray)]
    refused = {int(row): why for row, why in zip(rows, pictures, strict=True) if isinstance(why, str)}
    return Rendered(np.stack(images) if images else np.empty((0, size, size), dtype=np.uint8), refused)


def _reported(
    store: ImageStore, unlisted: tuple[str, ...], counts: Mapping[str, int], already_finished: bool
) -> PrepareReport:
    """The report, also written to ``report.json``."""
    refused = pd.read_csv(store.path / REFUSED_FILE, dtype=str)
    report = PrepareReport(
        dataset=store.description["dataset"],
        out=store.path,
        n_listed=store.description["n_listed"],
        n_read=len(store.images),
        refused=dict(zip(refused["image_id"], refused["reason"], strict=True)),
        unlisted=unlisted,
        counts=counts,
        already_finished=already_finished,
    )
    said: dict[str, Any] = asdict(report)
    del said["out"], said["already_finished"]  # what differs between places and calls
    if not already_finished:
        write_json(store.path / REPORT_FILE, said)
    return report
