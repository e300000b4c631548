"""Which picture files a source holds, without ever looking outside it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from dpcxr_core.config import UserError

LINKS_DEEP = 2  # links to folders followed on the way to one file; more, and links to each other have no end


def find_pictures(source: Path, patterns: Iterable[str], suffixes: Iterable[str] = ()) -> tuple[list[str], int]:
    """Files below the picture folders, sorted, relative to ``source``; and how many links were not followed.

    A link, to a file or a folder, is followed if it leads to a place within the source. One that leads out of it, or
    nowhere, is counted. One that leads back to a folder that the walk is inside of is passed over, so that a loop
    ends. Pipes and devices are passed over. A name that is not UTF-8 is given with backslashes: no table can name it.

    Args:
        source: Folder of the official files.
        patterns: Picture folders, relative to ``source``, with ``*`` allowed; "." is the source itself.
        suffixes: Endings in lower case, such as ".png"; files with another are passed over. Empty takes all.

    Raises:
        UserError: A pattern is an absolute path or climbs with ``..``, or a folder may not be read.
    """
    source, wanted = Path(os.path.abspath(source)), tuple(suffixes)
    root, skip = os.path.realpath(source), len(str(source).rstrip("/")) + 1
    found: set[str] = set()
    not_followed: set[str] = set()
    for folder in _folders(source, patterns):
        for path in _files_below(folder, root, not_followed):
            if not wanted or path.lower().endswith(wanted):
                found.add(os.fsencode(path[skip:]).decode("utf-8", "backslashreplace"))
    return sorted(found), len(not_followed)


def said_of_links(n_not_followed: int) -> str:
    """What to do about links that ``find_pictures`` did not follow, to end an error about missing pictures."""
    if not n_not_followed:
        return ""
    return (
        f" {n_not_followed} links lead out of the source, or nowhere, and are not followed. "
        "Name the folder that they lead to as the source, or copy it into the source."
    )


def _folders(source: Path, patterns: Iterable[str]) -> set[str]:
    folders: set[str] = set()
    for pattern in patterns:
        if leaves_source(pattern):
            raise UserError(f"picture folders are named relative to the source, without '..'; got {pattern!r}")
        folders.update([str(source)] if pattern == "." else map(str, source.glob(pattern)))
    return folders


def _files_below(start: str, root: str, not_followed: set[str]) -> Iterator[str]:
    real = os.path.realpath(start)
    if not _inside(real, root):
        not_followed.add(start)
        return
    came_from: tuple[str, ...] = ()
    to_do = [(start, real, came_from)]  # a folder, where it really is, and the folders that links were followed from
    while to_do:
        folder, real, came_from = to_do.pop()
        for entry in _entries(folder):
            if entry.is_symlink():
                target = _target(entry.path, root)
                if target is None:
                    not_followed.add(entry.path)
                elif os.path.isfile(target):
                    yield entry.path
                elif os.path.isdir(target) and len(came_from) < LINKS_DEEP:
                    above = (*came_from, real)
                    if not any(_inside(place, target) for place in above):
                        to_do.append((entry.path, target, above))
            elif entry.is_dir():
                to_do.append((entry.path, os.path.join(real, entry.name), came_from))
            elif entry.is_file():
                yield entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except NotADirectoryError:  # a file of the name that a picture folder should have
        return []
    except PermissionError:
        raise UserError(f"the folder {folder} may not be read. Ask for access to it, or take it out.") from None


def _target(link: str, root: str) -> str | None:
    """Where a link within the source leads, if that is within the source."""
    try:
        target = os.path.realpath(link, strict=True)
    except OSError:  # a loop of links, or a link to nothing
        return None
    return target if _inside(target, root) else None


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def paths_by_name(found: Iterable[str]) -> dict[str, str]:
    """File name -> path relative to the source; of two files with one name, the first."""
    return {PurePosixPath(path).name: path for path in reversed(list(found))}


def paths_named(names: pd.Series, found: Iterable[str]) -> pd.Series:
    """``names``, paths relative to the source, where such a file was found; missing elsewhere."""
    return names.astype(object).where(names.isin(list(found)), None)


def unlisted(found: Iterable[str], paths: pd.Series) -> tuple[str, ...]:
    """The files found that no row of ``paths`` names, sorted."""
    return tuple(sorted(set(found) - set(paths.dropna())))


def leaves_source(name: str) -> bool:
    """Whether a file name from a table is absolute or climbs with ``..``, so that it must not be opened."""
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
