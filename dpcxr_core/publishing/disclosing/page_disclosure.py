"""What built pages must not hold: rows about single patients, and counts from 1 to 9 that can point at people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import pandas as pd
from bs4 import BeautifulSoup

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.store import COHORT_FILE
from dpcxr_core.evaluation.groups import MIN_COUNT
from dpcxr_core.publishing.disclosing.disclosure import PATIENT_LEVEL
from dpcxr_core.publishing.disclosing.page_tables import tables_of

_SEARCHED = {".html", ".htm", ".js", ".css", ".svg", ".md", ".py", ".txt", ".xml"}
# A page carries what it shows in itself; a file of data beside it can hold anything.
_DATA = {".csv", ".tsv", ".json", ".jsonl", ".ipynb", ".parquet", ".feather", ".npy", ".npz", ".pkl", ".zip", ".dcm"}
_FINDINGS = "|".join(finding.replace("_", " ") for finding in FINDINGS)
# Headings and keys, underscores as spaces, under which a whole number counts images, patients or positives.
_COUNTED = re.compile(
    rf"n|counts?|number|listed|refused|in the (?:store|training set)|view|sex|age band|{_FINDINGS}"
    r"|(?:n |number of )?(?:(?:training|validation|test|positive|negative) )*"
    r"(?:images|patients|admissions|positives?|negatives?)(?! (?:a|per) | of (?:a|one|the) patient)(?: .*)?",
    re.IGNORECASE,
)
_SMALL = re.compile(rf"[1-{MIN_COUNT - 1}](?:\.0)?(?![\d.,%])")
_TOO_SMALL = f"a count below {MIN_COUNT}. Show it by publishing.small_cells."
# How public data sets name their images: ChestX-ray14, CheXpert, MIMIC-CXR-JPG, PadChest, VinDr-CXR.
_IMAGE_NAME = re.compile(
    r"\b(?:\d{8}_\d{3}\.png|patient\d{5}/study\d+|p1\d/p1\d{7}/s5\d{7}|\d{30,}_[\d-]+\.png|[0-9a-f]{32}\.dicom)"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{8}){4}\b"
)
_WORD = re.compile(r"[\w./-]+")
_LEAST_ID = 8  # shorter ones, such as the numbers of patients of ChestX-ray14, look as any count does


def disclosures_of_pages(html_dir: Path, ids: Set[str] = frozenset()) -> list[str]:
    """One line, ``file: what``, for everything in the folder that must not be published; empty when all may be.

    Searched are pages, their tables and printed outputs, the JSON of their scripts and of widget states, style sheets,
    scripts and sources. Refused are rows, records or columns of ``image_id`` and ``patient_id``; file names of images
    as the public data sets have them; any of ``ids``; files of data; and numbers from 1 to 9 whose column, row or key
    says that they count images, patients or positives.

    Args:
        html_dir: Built pages and all that lies beside them.
        ids: Of images and patients, as ``ids_in_stores`` gives them.
    """
    found = []
    for path in sorted(path for path in html_dir.rglob("*") if path.is_file()):
        name = path.relative_to(html_dir).as_posix()
        found += [f"{name}: {what}" for what in dict.fromkeys(_disclosed(path, name, ids))]
    return found


def ids_in_stores(stores: Path) -> frozenset[str]:
    """Ids of all images and patients of the image stores in a folder, as far as a page's numbers cannot equal them."""
    ids: set[str] = set()
    for cohort in stores.glob(f"*/{COHORT_FILE}"):
        for values in pd.read_parquet(cohort, columns=["image_id", "patient_id"]).to_dict("list").values():
            ids.update(values)
    return frozenset(each for each in ids if len(each) >= _LEAST_ID)


def _disclosed(path: Path, name: str, ids: Set[str]) -> Iterator[str]:
    if path.suffix in _DATA:
        yield "a file of data. Show tables and figures on the page instead."
    if path.suffix not in _SEARCHED:
        yield from _named(name, ids)
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    yield from _named(f"{name} {text}", ids)
    if path.suffix in {".html", ".htm"}:
        if PATIENT_LEVEL.search(text):
            yield "shows patient_id or image_id. Show counts or means."
        yield from _of_page(BeautifulSoup(text, "html.parser"))


def _named(text: str, ids: Set[str]) -> Iterator[str]:
    if _IMAGE_NAME.search(text):
        yield "names the file of an image. Leave the name out."
    words = {part.strip(".-/") for word in _WORD.findall(text) for part in (word, *word.split("/"))}
    if words & ids:
        yield "names an image or a patient of a store. Leave the id out."


def _of_page(page: BeautifulSoup) -> Iterator[str]:
    for number, table in enumerate(tables_of(page), start=1):
        for cell in table:
            if _SMALL.match(cell.text) and any(map(_counts, cell.column + cell.row)):
                rows = [f", row {row!r}" for row in cell.row if _counts(row)]
                yield f"table {number}, column {', '.join(cell.column)!r}{''.join(rows)}: {_TOO_SMALL}"
    for script in page.find_all("script", type=re.compile(r"json$")):
        yield from _of_values(json.loads(script.get_text()), counted=False, key="")


def _counts(heading: str) -> bool:
    return _COUNTED.fullmatch(heading.replace("_", " ").strip()) is not None


def _of_values(values: Any, *, counted: bool, key: str) -> Iterator[str]:
    """What JSON values disclose; all that lies under a key that counts is counted."""
    if isinstance(values, dict):
        for name, value in values.items():
            if name in ("image_id", "patient_id"):
                yield f"the data of a script hold the key {name!r}. Show counts or means."
            yield from _of_values(value, counted=counted or _counts(name), key=name)
    elif isinstance(values, list):
        for value in values:
            yield from _of_values(value, counted=counted, key=key)
    elif values in ("image_id", "patient_id"):
        yield f"the data of a script hold the column {values!r}. Show counts or means."
    elif counted and type(values) in (int, float) and 0 < values < MIN_COUNT and float(values).is_integer():
        yield f"the data of a script, {key!r}: {_TOO_SMALL}"
