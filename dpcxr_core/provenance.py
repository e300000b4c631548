"""Which code, on which machine, with which versions: what every record and every page states."""

from __future__ import annotations

import ast
import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).resolve().parent
PROJECT_FOLDER = PACKAGE_FOLDER.parent
# As they were when this was imported, like the code that runs: workers are forks, and files may be edited meanwhile.
_SOURCES = {file: file.read_bytes() for file in PACKAGE_FOLDER.rglob("*.py")}
_PACKAGES = ("dpcxr-core", "torch", "timm", "numpy", "scipy", "pandas", "scikit-learn", "opacus", "dp-accounting")


def source_key(*paths: Path) -> str:
    """Twelve hex digits that name the text of every file below ``paths``, and their names."""
    return _key_of(
        (file.relative_to(path.parent), file)
        for path in paths
        for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
        if file.is_file() and "__pycache__" not in file.parts
    )


@cache
def imported_source_key(*modules: str) -> str:
    """Twelve hex digits that name the text of ``imported_files``.

    So that a result is made again exactly when code was changed that it can depend on.
    """
    return _key_of((file.relative_to(PACKAGE_FOLDER), file) for file in imported_files(*modules))


def _key_of(named: Iterable[tuple[Path, Path]]) -> str:
    """The key of files, each under a name that says nothing of where the project lies."""
    digest = hashlib.sha256()
    for name, file in named:
        digest.update(name.as_posix().encode() + b"\0" + (_SOURCES.get(file) or file.read_bytes()) + b"\0")
    return digest.hexdigest()[:12]


def imported_files(*modules: str) -> list[Path]:
    """The files of these modules and of all that they import of this package, directly or not, sorted.

    Args:
        modules: Full names, such as "dpcxr_core.study.runs".
    """
    found: set[Path] = set()
    waiting = [_module_file(name) for name in modules]
    while waiting:
        file = waiting.pop()
        if file is not None and file not in found:
            found.add(file)
            waiting += map(_module_file, _imported_names(file))
    return sorted(found)


def _imported_names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(_SOURCES[file])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)  # where a name is a module


def _module_file(name: str) -> Path | None:
    package, *parts = name.split(".")
    file = PACKAGE_FOLDER.joinpath(*parts).with_suffix(".py")
    return file if package == PACKAGE_FOLDER.name and file in _SOURCES else None


def from_project(folder: Path) -> str:
    """``folder`` as seen from the project where it lies inside, so that pages name no path of one machine."""
    resolved = folder.resolve()
    return str(resolved.relative_to(PROJECT_FOLDER) if resolved.is_relative_to(PROJECT_FOLDER) else resolved)


def git_state(folder: Path = PACKAGE_FOLDER) -> str:
    """The commit that ``folder`` stands on, with ``+changes`` when files differ, or "not in git"."""

    def git(*words: str) -> str:
        found = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
        return found.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "not in git"


@cache
def versions() -> dict[str, str]:
    """Python, platform and the versions of the packages that numbers depend on."""
    found = {"python": sys.version.split()[0], "platform": platform.platform(terse=True)}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def deciding_libraries() -> dict[str, str]:
    """Versions of the libraries that what a model computes depends on."""
    return {name: versions()[name] for name in ("torch", "timm", "numpy")}
