"""CSV tables of which some copies have columns that others lack."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from dpcxr_core.data.sources.official_csv import read_columns


def read_with_optional(
    path: Path, required: Mapping[str, Sequence[str]], optional: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """``read_columns`` of ``required`` and of those ``optional`` columns that the file has; the others are not there.

    Args:
        path: Plain CSV.
        required: Our name -> the names seen in copies.
        optional: The same, for columns that some copies lack.

    Raises:
        UserError: As of ``read_columns``.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            header = {name.strip() for name in next(csv.reader(lines), [])}
    except (UnicodeDecodeError, csv.Error):
        header = set()  # read_columns says what is wrong
    there = {ours: names for ours, names in optional.items() if not header.isdisjoint(names)}
    return read_columns(path, {**required, **there})
