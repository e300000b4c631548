"""The whole book: every chapter of a profile in order, then the pages."""

from __future__ import annotations

from pathlib import Path

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


def make_book(profile_name: str, runs: Path, out: Path) -> Path:
    """The built index page of a profile.

    A chapter whose source, code and parameters are unchanged is not run again, unless a chapter
    before it was: later chapters read what earlier ones wrote. Every parameter is checked before the first
    chapter runs.
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
    for place, source in enumerate(sources):
        if not is_up_to_date(source, notebooks, parameters[source.stem]):
            for later in sources[place:]:
                (notebooks / f"{later.stem}.ipynb").unlink(missing_ok=True)
        execute_chapter(source, notebooks, parameters[source.stem], progress=True)
    return build_book(BOOK_FOLDER, PROJECT_FOLDER / "_config.yml", notebooks, out / profile.name)
