"""Which code, on which machine, with which versions: what every record and every page states."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).resolve().parent
PROJECT_FOLDER = PACKAGE_FOLDER.parent
_PACKAGES = ("dpcxr-core", "torch", "timm", "numpy", "pandas", "scikit-learn", "opacus", "dp-accounting")


def source_key(*paths: Path) -> str:
    """Twelve hex digits that name the text of every file below ``paths``, and their names."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(path.parent)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


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


def versions() -> dict[str, str]:
    """Python, platform and the versions of the packages that numbers depend on."""
    found = {"python": sys.version.split()[0], "platform": platform.platform(terse=True)}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
