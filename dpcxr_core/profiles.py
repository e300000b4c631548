"""A profile: the parameters of every chapter, in one YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dpcxr_core.config import UserError
from dpcxr_core.provenance import PROJECT_FOLDER, from_project

BOOK_FOLDER = PROJECT_FOLDER / "book"


@dataclass(frozen=True)
class Profile:
    """What a profile file says.

    Attributes:
        name: The file's name without its ending; names the run folder.
        shared: Parameters given to every chapter that declares them.
        chapters: Parameters of single chapters, by file name without its ending.
    """

    name: str
    shared: dict[str, Any]
    chapters: dict[str, dict[str, Any]]


def read_profile(name_or_file: str) -> Profile:
    """The profile named ``name_or_file`` in ``book/params``, or read from that file.

    Raises:
        UserError: There is no such profile, or it is not a mapping of ``shared`` and ``chapters``.
    """
    folder = BOOK_FOLDER / "params"
    path = Path(name_or_file) if name_or_file.endswith((".yml", ".yaml")) else folder / f"{name_or_file}.yml"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.yml"))
        raise UserError(f"there is no profile {name_or_file!r}; choose one of {known} or give a .yml file")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or set(values) - {"shared", "chapters"}:
        found = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise UserError(f"{path} must hold 'shared' and 'chapters' only; found {found}")
    chapters = {name: given or {} for name, given in (values.get("chapters") or {}).items()}
    for name, given in {"shared": values.get("shared") or {}, **chapters}.items():
        if not isinstance(given, dict):
            raise UserError(f"{path}: {name} must map parameters to values; got {given!r}")
    unknown = set(chapters) - {chapter.stem for chapter in chapter_sources()}
    if unknown:
        raise UserError(
            f"{path} names unknown chapters {sorted(unknown)}; "
            f"known are {[chapter.stem for chapter in chapter_sources()]}"
        )
    return Profile(path.stem, values.get("shared") or {}, chapters)


def chapter_sources() -> list[Path]:
    """The executable chapters in order: the first digit of a name is the part, the second the place in it."""
    return sorted(BOOK_FOLDER.glob("[0-9][0-9]_*.py"))


def chapter_parameters(profile: Profile, chapter: str, declared: set[str], run_dir: Path) -> dict[str, Any]:
    """Parameters that ``profile`` gives to ``chapter``: the shared ones it declares, then its own.

    A shared parameter that no chapter declares is caught by ``check_shared``.
    """
    given = {**places_of_chapters(run_dir), **profile.shared}
    shared = {name: value for name, value in given.items() if name in declared}
    return {**shared, **profile.chapters.get(chapter, {})}


def places_of_chapters(run_dir: Path) -> dict[str, str]:
    """Where every chapter leaves results, and what is kept between runs; seen from the project."""
    return {"cache_dir": ".cache", "run_dir": from_project(run_dir)}


def check_shared(profile: Profile, declared: dict[str, set[str]]) -> None:
    """Raise ``UserError`` for a shared parameter that no chapter declares: a typing error, most likely."""
    unknown = set(profile.shared) - set().union(*declared.values())
    if unknown:
        raise UserError(f"profile {profile.name!r} shares parameters that no chapter declares: {sorted(unknown)}")
