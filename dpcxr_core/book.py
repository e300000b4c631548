"""The whole book: every chapter of a profile in order, then the pages."""

from __future__ import annotations

from pathlib import Path

from dpcxr_core.profiles import (
    BOOK_FOLDER,
    PROJECT_FOLDER,
    chapter_parameters,
    chapter_sources,
    check_shared,
    read_profile,
)
from dpcxr_core.publishing.build import build_book
from dpcxr_core.publishing.execute import declared_parameters, execute_chapter


def make_book(profile_name: str, runs: Path, out: Path) -> Path:
    """The built index page of a profile.

    A chapter whose source, code and parameters are unchanged is not run again, unless a chapter
    before it was: later chapters read what earlier ones wrote.
    """
    profile = read_profile(profile_name)
    run_dir = (runs / profile.name).resolve()
    declared = {source.stem: set(declared_parameters(source)) for source in chapter_sources()}
    check_shared(profile, declared)
    upstream_changed = False
    for source in chapter_sources():
        parameters = chapter_parameters(profile, source.stem, declared[source.stem], run_dir)
        notebook = run_dir / "notebooks" / f"{source.stem}.ipynb"
        before = notebook.stat().st_mtime_ns if notebook.exists() else None
        execute_chapter(source, notebook.parent, parameters, progress=True, force=upstream_changed)
        upstream_changed = upstream_changed or notebook.stat().st_mtime_ns != before
    return build_book(BOOK_FOLDER, PROJECT_FOLDER / "_config.yml", run_dir / "notebooks", out / profile.name)
