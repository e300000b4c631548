"""The whole book: every chapter of a profile, then the pages."""

from __future__ import annotations

import re
from concurrent.futures import FIRST_COMPLETED, Future, wait
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
from dpcxr_core.publishing.disclosing.page_disclosure import ids_in_stores
from dpcxr_core.publishing.pages.build import build_book
from dpcxr_core.publishing.pages.execute import execute_chapter, is_up_to_date
from dpcxr_core.publishing.pages.parameters import check_parameters, declared_parameters
from dpcxr_core.study.handover import find_own_store, find_places
from dpcxr_core.workers import worker_pool

_SIDE_BY_SIDE = 2  # chapters; each has phases that use one core only, and starts with seconds of imports
_PART_ABOUT_ALL = "6"  # first digit of a chapter's name
_LEAVES, _FINDS = re.compile(r"\bleave_(\w+)\("), re.compile(r"\bfind_(\w+)\(")


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
    needed = needed_by_each(sources)
    stale: set[Path] = set()
    for source in sources:
        if needed[source] & stale or not is_up_to_date(source, notebooks, parameters[source.stem]):
            stale.add(source)
            (notebooks / f"{source.stem}.ipynb").unlink(missing_ok=True)
    _execute_all(needed, notebooks, parameters)
    return build_book(BOOK_FOLDER, PROJECT_FOLDER / "_config.yml", notebooks, out / profile.name, _ids(run_dir))


def _ids(run_dir: Path) -> frozenset[str]:
    """Ids of all images and patients that the chapters met, which no page may name."""
    stores = {find_places(run_dir).stores} if (run_dir / "places.json").is_file() else set()
    if own := find_own_store(run_dir):
        stores.add(own.parent)
    return frozenset().union(*map(ids_in_stores, stores))


def needed_by_each(sources: list[Path]) -> dict[Path, set[Path]]:
    """For each chapter those that must have run before it: they ``leave_...`` in the handover what it ``find_...``s.

    Chapters of part 6 are about all the others, and need them all.
    """
    texts = {source: source.read_text(encoding="utf-8") for source in sources}
    left_by = {what.rstrip("s"): source for source in sources for what in _LEAVES.findall(texts[source])}
    needed = {}
    for source in sources:
        found = {left_by.get(what.rstrip("s"), source) for what in _FINDS.findall(texts[source])}
        others = {other for other in sources if other.name[0] < _PART_ABOUT_ALL <= source.name[0]}
        needed[source] = (found | others) - {source}
    return needed


def _execute_all(needed: dict[Path, set[Path]], notebooks: Path, parameters: dict[str, dict[str, Any]]) -> None:
    """Every chapter, as soon as those that it needs have run; what waits for one that failed is not run."""
    wanted = set().union(*needed.values())
    waiting = sorted(needed, key=lambda source: (source not in wanted, source.name))  # what others wait for comes first
    running: dict[Future, Path] = {}
    done: set[Path] = set()
    failed: list[Future] = []
    with worker_pool(_SIDE_BY_SIDE) as pool:
        while True:
            ready = [source for source in waiting if needed[source] <= done]
            for source in ready[: _SIDE_BY_SIDE - len(running)]:
                waiting.remove(source)
                chapter = pool.submit(execute_chapter, source, notebooks, parameters[source.stem], progress=True)
                running[chapter] = source
            if not running:
                break
            for chapter in wait(running, return_when=FIRST_COMPLETED).done:
                source = running.pop(chapter)
                if chapter.exception() is None:
                    done.add(source)
                else:
                    failed.append(chapter)
    for chapter in failed:
        chapter.result()
