"""The whole book: every chapter of a profile, then the pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dpcxr_core.profiles import (
    BOOK_FOLDER,
    chapter_parameters,
    chapter_sources,
    check_shared,
    read_profile,
)
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.publishing.build import build_book
from dpcxr_core.publishing.execute import execute_chapter, is_up_to_date
from dpcxr_core.publishing.parameters import check_parameters, declared_parameters
from dpcxr_core.workers import worker_pool

_SIDE_BY_SIDE = 2  # chapters; each has phases that use one core only, and starts with seconds of imports
_PART_ABOUT_ALL = "6"  # first digit of a chapter's name
_LEAVES = re.compile(r"\bleave_\w+\(")


def make_book(profile_name: str, runs: Path, out: Path) -> Path:
    """The built index page of a profile.

    A chapter whose source, code and parameters are unchanged is not run again, unless a chapter was whose results it
    reads. Every parameter is checked before the first chapter runs. Where a chapter fails, those beside it still
    finish, and the book is not built.
    """
    profile = read_profile(profile_name)
    run_dir = (runs / profile.name).resolve()
    sources = chapter_sources()
    declared = {source.stem: declared_parameters(source) for source in sources}
    check_shared(profile, {chapter: set(names) for chapter, names in declared.items()})
    parameters = {
        source.stem: chapter_parameters(profile, source.stem, set(declared[source.stem]), run_dir) for source in sources
    }
    for source in sources:
        check_parameters(parameters[source.stem], declared[source.stem], source.name)
    notebooks = run_dir / "notebooks"
    for executed in notebooks.glob("*.ipynb"):
        if executed.stem.removesuffix(".partial") not in declared:  # of a chapter that was renamed or removed
            executed.unlink()
    layers = chapters_in_layers(sources)
    for place, layer in enumerate(layers):
        _execute_side_by_side(layer, [each for later in layers[place + 1 :] for each in later], notebooks, parameters)
    return build_book(BOOK_FOLDER, PROJECT_FOLDER / "_config.yml", notebooks, out / profile.name)


def chapters_in_layers(sources: list[Path]) -> list[list[Path]]:
    """Chapters in layers: each layer reads what the layers before it left, and its chapters read nothing of each other.

    A chapter that leaves something for others, by a function ``leave_...`` of the handover, is a layer of its own. Then
    come all that only read, and last those of part 6, which are about all the others.
    """
    about_all = [source for source in sources if source.name[0] >= _PART_ABOUT_ALL]
    others = [source for source in sources if source not in about_all]
    leaving = [source for source in others if _LEAVES.search(source.read_text(encoding="utf-8"))]
    reading = [source for source in others if source not in leaving]
    return [layer for layer in (*([source] for source in leaving), reading, about_all) if layer]


def _execute_side_by_side(
    layer: list[Path], later: list[Path], notebooks: Path, parameters: dict[str, dict[str, Any]]
) -> None:
    stale = [source for source in layer if not is_up_to_date(source, notebooks, parameters[source.stem])]
    for source in later if stale else []:
        (notebooks / f"{source.stem}.ipynb").unlink(missing_ok=True)
    if len(layer) == 1:
        execute_chapter(layer[0], notebooks, parameters[layer[0].stem], progress=True)
        return
    with worker_pool(_SIDE_BY_SIDE) as pool:
        running = [
            pool.submit(execute_chapter, source, notebooks, parameters[source.stem], progress=True) for source in layer
        ]
    for chapter in running:
        chapter.result()
