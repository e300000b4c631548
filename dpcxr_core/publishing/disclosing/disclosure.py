"""What executed chapters must not show: rows about single patients, and outputs heavy with data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from dpcxr_core.publishing.pages.executed import executed_chapters

MAX_OUTPUT_BYTES = 3_000_000
_NAMES = r"(?:patient_id|image_id)"
PATIENT_LEVEL = re.compile(
    rf"<th[^>]*>\s*{_NAMES}\s*</th>"  # column of an HTML table
    rf'|\\?"{_NAMES}\\?"\s*:'  # key of a JSON record
    rf"|\bName: {_NAMES}\b"  # a printed column
    # The header of a printed table: the name among others, and rows that start with a number below it.
    rf"|^(?=[^\n]*(?<!\S){_NAMES}(?!\S))[^\S\n]*\S+(?:[^\S\n]+\S+)+[^\S\n]*\n\s*\d+\s",
    re.MULTILINE,
)


def disclosures(run_dir: Path, max_output_bytes: int = MAX_OUTPUT_BYTES) -> list[str]:
    """One line for each output of an executed chapter that must not be published; empty when all may be.

    An output is refused when it is a table, a record or a printed column of ``patient_id`` or
    ``image_id``, or when it is larger than ``max_output_bytes``. Prose and lists of column names pass.
    """
    found = []
    for path, notebook in executed_chapters(run_dir):
        for number, cell in enumerate(notebook.cells, start=1):
            for mime, text in _texts(cell.get("outputs", [])):
                where = f"{path.name}, cell {number}: {mime}"
                if len(text) > max_output_bytes:
                    limit = f"at most {max_output_bytes:,}"
                    found.append(f"{where} of {len(text):,} bytes; {limit}. Show fewer or smaller images.")
                elif not mime.startswith("image/") and PATIENT_LEVEL.search(text):
                    found.append(f"{where} shows patient_id or image_id. Show counts or means.")
    return found


def _texts(outputs: list[dict]) -> Iterator[tuple[str, str]]:
    for output in outputs:
        if "text" in output:
            yield "text/plain", output["text"]
        for mime, data in output.get("data", {}).items():
            yield mime, data if isinstance(data, str) else json.dumps(data)
