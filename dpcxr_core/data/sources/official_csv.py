"""Official CSV tables, read as text: the columns we need under our names, and nothing guessed."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.counted import counted

_LONGEST_FIELD = 1 << 24  # a report in one field; beyond it a quote was left open


def present(source: Path, names: Sequence[str]) -> Path | None:
    """The first of the files ``names`` that ``source`` holds; None if it holds none.

    Raises:
        UserError: The file is a link that leads out of the source.
    """
    for name in names:
        path = source / name
        if path.is_file():
            if not path.resolve().is_relative_to(source.resolve()):
                raise UserError(f"{path} leads out of {source} to {path.resolve()}. Put a copy of the file there.")
            return path
    return None


def first_present(source: Path, names: Sequence[str], what: str) -> Path:
    """The first of the files ``names`` that ``source`` holds.

    Raises:
        UserError: None is there; the message says that ``what`` was looked for. Or it leads out of the source.
    """
    if not source.is_dir():
        raise UserError(f"no folder {source}. Expected {what}, with {names[0]} in it.")
    path = present(source, names)
    if path is None:
        raise UserError(
            f"{source} has no {' or '.join(names)}. Put the official file there (data_manifests/README.md)."
        )
    return path


def strict_rows(lines: Iterable[str], separator: str = ",") -> Any:
    """A ``csv.reader`` of ``lines``, strict about quotation marks, of fields as long as a report."""
    csv.field_size_limit(_LONGEST_FIELD)
    return csv.reader(lines, delimiter=separator, strict=True)


def read_columns(path: Path, columns: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The columns of a CSV file (or ``.csv.gz``) that are asked for, as text under our names; blank is "".

    A row may have fewer fields than the header, or more where the header's own names hold commas, but not more than
    both the header and the first row: a comma that is not in quotes would push values into the next column.

    Args:
        path: UTF-8, with or without a byte order mark.
        columns: Our name -> the names seen in official copies; the first that is there is read.

    Raises:
        UserError: Not UTF-8, not CSV, cut off, a column is missing or stands there twice, a row is too short or too
            long, or there is no row.
    """
    try:
        with _text_of(path) as text:
            reader = strict_rows(_without_nul(path, text))
            header = [name.strip() for name in next(reader, [])]
            position = {ours: _position(path, header, theirs) for ours, theirs in columns.items()}
            table = pd.DataFrame(list(_cut(path, reader, len(header), list(position.values()))), dtype=object)
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is not text in UTF-8: {error}. Save it as UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{path.name}, line {reader.line_num}: {error}. Is a quotation mark left open?") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path.name} is cut off or damaged: {error}. Download it again.") from None
    except PermissionError:
        raise UserError(f"{path} may not be read. Ask for access to it.") from None
    if table.empty:
        raise UserError(f"{path.name} has a header and no rows")
    return table.set_axis(list(position), axis=1)


class _Stripped(dict[str, str]):
    """Text -> the text without spaces around it; made once, as codes repeat."""

    def __missing__(self, field: str) -> str:
        self[field] = text = field.strip()
        return text


def _cut(path: Path, reader: Any, n_header: int, places: list[int]) -> Iterator[tuple[str, ...]]:
    """The fields at ``places`` of each row."""
    least, most = max(places) + 1, 0
    stripped = _Stripped()
    for row in reader:
        if not row:
            continue
        most = most or max(n_header, len(row))
        if not least <= len(row) <= most:
            raise UserError(
                f"{path.name}, line {reader.line_num}: {len(row)} fields, expected {least} to {most}. "
                "Is a comma not in quotes, or the line cut?"
            )
        yield tuple([stripped[row[place]] for place in places])


def _without_nul(path: Path, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise UserError(f"{path.name}, line {number} holds a NUL character: damaged, or UTF-16. Save it as UTF-8.")
        yield line


@contextmanager
def _text_of(path: Path) -> Iterator[IO[str]]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as lines:
            yield lines
    else:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield lines


def _position(path: Path, header: list[str], names: Sequence[str]) -> int:
    for name in names:
        if header.count(name) > 1:
            raise UserError(f"{path.name} has {header.count(name)} columns {name!r}. Keep the one that is meant.")
        if name in header:
            return header.index(name)
    raise UserError(f"{path.name} has no column {' or '.join(map(repr, names))}; its header is {header[:40]}")


def recoded(values: pd.Series, coding: Mapping[str, str], what: str) -> pd.Series:
    """``values`` by a closed ``coding``; blank, unless it is coded, is missing.

    Raises:
        UserError: A value is not in the coding; names the first ones with their counts.
    """
    coded = values.map(dict(coding))
    unknown = values[values.notna() & (values != "") & ~values.isin(list(coding))]
    if len(unknown):
        raise UserError(f"{what} holds {counted(unknown)}; known are {', '.join(map(repr, coding))}")
    return coded.astype(object).where(coded.notna(), None)
