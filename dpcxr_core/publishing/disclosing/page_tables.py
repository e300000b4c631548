"""The tables of a built page, each value with the headings of its column and its row."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from bs4 import BeautifulSoup, Tag


@dataclass(frozen=True)
class Cell:
    """A value in a table.

    Attributes:
        column: The headings above it, outermost first.
        row: The headings left of it, outermost first.
        text: What it shows.
    """

    column: tuple[str, ...]
    row: tuple[str, ...]
    text: str


def tables_of(page: BeautifulSoup) -> list[list[Cell]]:
    """The values of every table of a page: each ``<table>``, then each output that is printed text."""
    return [
        *(_values_of(table) for table in page.find_all("table")),
        *(_printed_values(block.get_text()) for block in page.select(".cell_output pre")),
    ]


def _values_of(table: Tag) -> list[Cell]:
    columns: dict[int, list[str]] = defaultdict(list)
    from_above: dict[tuple[int, int], str] = {}  # headings of a row above that reach down
    values = []
    for at, row in enumerate(table.find_all("tr")):
        cells = row.find_all(["th", "td"])
        is_heading = all(cell.name == "th" for cell in cells)
        column, row_headings = 0, []
        for cell in cells:
            while (at, column) in from_above:
                row_headings.append(from_above[at, column])
                column += 1
            text = " ".join(cell.get_text(" ").split())
            width, height = (int(str(cell.get(name, "1"))) for name in ("colspan", "rowspan"))
            for place in range(column, column + width):
                from_above |= {(below, place): text for below in range(at + 1, at + height)}
                if is_heading and text:
                    columns[place].append(text)
            if cell.name == "td":
                values.append(Cell(tuple(columns[column]), tuple(row_headings), text))
            elif not is_heading:
                row_headings.append(text)
            column += width
    return values


def _printed_values(text: str) -> list[Cell]:
    """Values of a printed table, whose columns are two spaces or more apart and end where their heading ends."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]
    return [
        Cell((heading,), (line[0],), value)
        for line in lines[1:]
        for heading, value in zip(reversed(lines[0]), reversed(line), strict=False)
    ]
