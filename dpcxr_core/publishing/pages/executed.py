"""Executed chapters: how they are named, what they record, how they are found again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from dpcxr_core.config import content_key
from dpcxr_core.provenance import PACKAGE_FOLDER, git_state, source_key, versions

RECORD = "dpcxr"  # the key of our record in a notebook's metadata
PARTIAL = ".partial.ipynb"
REPOSITORY = PACKAGE_FOLDER.parent


def source_sha256(text: str) -> str:
    """Hash of a chapter's text, blind to how its lines end: Sphinx rewrites line ends before it reads."""
    lines = text.removeprefix("\ufeff").splitlines()
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def code_key(parameters: dict[str, Any]) -> str:
    """Twelve hex digits that name the package, the data manifests and ``parameters``.

    A change in any of the three makes an executed chapter stale, though its own text is the same.
    """
    manifests = REPOSITORY / "data_manifests"
    folders = [PACKAGE_FOLDER, manifests] if manifests.is_dir() else [PACKAGE_FOLDER]
    return content_key(source_key(*folders), parameters)


def chapter_record(source: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """What an executed chapter says of its origin; papermill adds the start and the durations."""
    path = source.resolve()
    return {
        "source": os.path.relpath(path, REPOSITORY) if path.is_relative_to(REPOSITORY) else path.name,
        "source_sha256": source_sha256(source.read_text(encoding="utf-8")),
        "code_key": code_key(parameters),
        "parameters": parameters,
        "git_commit": git_state(REPOSITORY),
        "versions": versions(),
    }


def executed_chapters(run_dir: Path) -> Iterator[tuple[Path, nbformat.NotebookNode]]:
    """Path and notebook of every chapter that finished in ``run_dir``, by name; partial ones are left out."""
    for path in sorted(run_dir.glob("*.ipynb")):
        if not path.name.endswith(PARTIAL):
            notebook = nbformat.read(path, as_version=4)
            if RECORD in notebook.metadata:
                yield path, notebook
