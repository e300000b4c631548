"""A hospital's own table: any separator and encoding, read as text."""

from __future__ import annotations

import csv
import difflib
import gzip
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.sources.official_csv import strict_rows
from dpcxr_core.data.sources.picture_files import leaves_source

_SEPARATORS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
_PACKED = b"PK\x03\x04"  # a ZIP archive, as .xlsx is
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"  # .xls
_LINE_FOR_EXCEL = re.compile(r"sep=(.?)\1*", re.IGNORECASE | re.DOTALL)
_LONGEST_NAME = 255  # bytes, on every file system in common use


def read_own_table(source: Path, table: Mapping[str, str], columns: Mapping[str, str]) -> pd.DataFrame:
    """The wanted columns of a table, as text under our names; blank is "".

    A first line ``sep=;``, which is for Excel alone, is passed over.

    Args:
        source: The folder that the table lies in; nothing outside it is read.
        table: ``file`` (relative to ``source``; ``.gz`` is unpacked on the way), ``separator``, ``encoding``.
        columns: Our name -> the column's name in the table.

    Raises:
        UserError: The file is missing, outside the source, a workbook or not text in that encoding; a column is
            missing or stands there twice (the header is named); a row is too short or too long; quotation marks do
            not pair; there is no row.
    """
    path = source / table["file"]
    if len(path.name.encode()) > _LONGEST_NAME:
        raise UserError(f"table.file: no file has a name of {len(path.name)} characters: {path.name[:40]!r} ...")
    if leaves_source(table["file"]) or not path.resolve().is_relative_to(source.resolve()):
        raise UserError(f"table.file must lie inside the source {source}; got {table['file']!r}")
    if not path.is_file():
        there = sorted(each.name for each in source.glob("*") if each.is_file())[:5] if source.is_dir() else []
        raise UserError(f"{source} has no {table['file']}; files there: {', '.join(there) or 'none'}")
    _refuse_workbook(path)
    try:
        return _read(path, table, columns)
    except UnicodeError as error:
        raise UserError(
            f"{path.name} is no table of text in {table['encoding']}: {error}. "
            "State table.encoding, such as cp1252 (Windows), latin-1 or utf-16, or save the table as UTF-8."
        ) from None
    except LookupError:
        raise UserError(f"table.encoding {table['encoding']!r} is not known; try utf-8, cp1252 or utf-16") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path.name} is cut off or damaged: {error}. Export it again.") from None


def _refuse_workbook(path: Path) -> None:
    with path.open("rb") as file:
        begin = file.read(len(_PACKED))
    if begin in (_PACKED, _OLD_WORKBOOK):
        what = "an Excel workbook, or a ZIP archive" if begin == _PACKED else "an Excel workbook"
        raise UserError(f"{path.name} is {what}, and no table of text. Save it as CSV UTF-8, and name that file.")


def _read(path: Path, table: Mapping[str, str], columns: Mapping[str, str]) -> pd.DataFrame:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding=table["encoding"], newline="") as lines:
        reader = strict_rows(lines, table["separator"])
        begun = 0
        try:
            header = _names_in(next(reader, []))
            if _LINE_FOR_EXCEL.fullmatch(table["separator"].join(header)):
                begun = reader.line_num
                header = _names_in(next(reader, []))
            places = _places(path.name, header, columns, table["separator"])
            last, rows, longer = max(places, default=-1), [], []
            begun = reader.line_num
            for row in reader:
                line, begun = begun + 1, reader.line_num
                if not any(row):
                    continue
                if len(row) <= last:
                    raise UserError(f"{path.name}, line {line}: {len(row)} fields, expected {len(header)}")
                if len(row) > len(header):
                    longer.append((line, len(row)))
                rows.append([row[place].strip() for place in places])
        except csv.Error as error:
            raise UserError(
                f"{path.name}: quotation marks do not pair in the row that begins in line {begun + 1} ({error}). "
                'Close the one that is open; a mark that belongs to the text is written twice, "".'
            ) from None
    if longer:
        raise UserError(_too_long(path.name, longer, header, table["separator"]))
    if not rows:
        raise UserError(f"{path.name} has a header and no rows")
    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def _names_in(line: list[str]) -> list[str]:
    return [name.strip().removeprefix("\ufeff") for name in line]


def _too_long(name: str, longer: list[tuple[int, int]], header: list[str], separator: str) -> str:
    """What to do about rows with more fields than the header, whose texts stand in wrong columns."""
    line, n_fields = longer[0]
    return (
        f"{name}: {len(longer)} rows are longer than the header (first: line {line}, {n_fields} fields, the header has "
        f"{len(header)}). A text that holds the separator {separator!r} must stand in quotation marks, and every "
        "column needs a name: mend the rows, or export the table with another separator."
    )


def _places(name: str, header: list[str], columns: Mapping[str, str], separator: str) -> list[int]:
    missing = {theirs: ours for ours, theirs in columns.items() if theirs not in header}
    if missing:
        close = {theirs: difflib.get_close_matches(theirs, header, n=1) for theirs in missing}
        asked = ", ".join(
            f"{theirs!r}" + (f" (did you mean {found[0]!r}?)" if found else "") for theirs, found in close.items()
        )
        other = [
            words for each, words in _SEPARATORS.items() if each != separator and any(each in part for part in header)
        ]
        hint = f" Is the separator {' or '.join(other)}? State table.separator." if len(header) == 1 and other else ""
        raise UserError(f"{name} has no column {asked}; its header is {header[:40]}.{hint}")
    twice = [theirs for theirs in columns.values() if header.count(theirs) > 1]
    if twice:
        raise UserError(f"{name} has {header.count(twice[0])} columns {twice[0]!r}. Keep the one that is meant.")
    return [header.index(theirs) for theirs in columns.values()]
