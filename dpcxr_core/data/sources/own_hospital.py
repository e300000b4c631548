"""Your own hospital: any table, or none, to one table in our words, by a manifest of your own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import OfficialTable
from dpcxr_core.data.sources.own_manifest import facts_of_text
from dpcxr_core.data.sources.own_rows import rows_of
from dpcxr_core.data.sources.own_values import RAW, ages_of, codes_of, decoded, patients_of
from dpcxr_core.data.sources.picture_files import find_pictures, said_of_links


def read_own(source: Path, facts: Mapping[str, Any]) -> OfficialTable:
    """What a hospital's export says, in the order of its table, or of its file names where there is none.

    Everything that the manifest does not map is told at once, before any picture is read.

    Args:
        source: The hospital's folder; nothing outside it is read.
        facts: ``own_facts`` of its manifest.

    Raises:
        UserError: The table or a column is not there; a value of sex, view, age, split or label is not mapped (the
            values and their counts are named); ids stand twice; rows have no patient; most pictures are not there.
    """
    mapping = facts["mapping"]
    if not source.is_dir():
        raise UserError(f"no folder {source}. Expected the export of {facts['title']}.")
    found, n_links_out = find_pictures(source, mapping["pictures"], mapping["picture_endings"])
    if not found:
        raise UserError(
            f"no picture in {source}, looked in {', '.join(mapping['pictures'])} for files that end in "
            f"{', '.join(filter(None, mapping['picture_endings'])) or 'anything'}. Mend pictures or picture_endings."
            f"{said_of_links(n_links_out)}"
        )
    mistakes: list[str] = []
    raw, counts = rows_of(source, mapping, found, mistakes, n_links_out)
    table, of_values = _in_our_words(raw, mapping, mistakes)
    (_tell_of_copies if mapping["rows_from"] == "dicom" else _tell_of_repeats)(table, mistakes)
    if mistakes:
        raise UserError(_answer(mistakes))
    listed = set(table["path"].dropna()) | {mapping["table"].get("file")}
    unlisted = tuple(path for path in found if path not in listed)
    return OfficialTable(table, {**counts, **of_values, "links_out_of_source": n_links_out}, unlisted)


def _in_our_words(
    raw: pd.DataFrame, mapping: Mapping[str, Any], mistakes: list[str]
) -> tuple[pd.DataFrame, dict[str, int]]:
    blank = pd.Series("", index=raw.index, dtype=object)
    columns, counts = {}, {}
    for name in ("sex", "view", "split"):
        texts = raw.get(name, blank)
        columns[name] = decoded(texts, mapping[name], name, mistakes)
        counts[f"{name}_set_missing"] = int((columns[name].isna() & (texts != "") & texts.notna()).sum())
    ages, counts["ages_set_missing"] = ages_of(raw, mapping["age"], mistakes)
    codes, of_labels = codes_of(raw, mapping["labels"], mistakes)
    table = pd.DataFrame(
        {
            "dataset": mapping["name"],
            "image_id": raw["image"],
            "patient_id": patients_of(raw, mapping, mistakes),
            **columns,
            "age_years": ages,
            "path": raw["path"],
        }
    )
    kept = {"study": "study_id", "age": RAW + "age", **{name: name for name in map(str, raw) if name.startswith(RAW)}}
    kept |= {name: name for name in mapping["keep"]}
    also = raw[[name for name in kept if name in raw]].rename(columns=kept)
    for name in also.columns.intersection(["study_id", *mapping["keep"]]):  # a blank is no study and no group
        also[name] = also[name].where(also[name] != "", None)
    said = {"patients_are_not_recorded": len(raw)} if mapping["patient"] == "none" else {}
    return table.join(also).join(codes), {**counts, **of_labels, **said}


def _tell_of_repeats(table: pd.DataFrame, mistakes: list[str]) -> None:
    rows = table.drop_duplicates()
    for column, what, cure in (
        ("image_id", "image ids stand in rows that differ", "Keep one row an image, with all its labels."),
        ("path", "pictures are named by rows with different ids", "Keep one row a picture."),
    ):
        twice = rows.loc[rows[column].notna() & rows[column].duplicated(keep=False), column]
        if len(twice):
            mistakes.append(f"{twice.nunique()} {what} (first: {', '.join(twice.unique()[:3])}). {cure}")
            return


def _tell_of_copies(table: pd.DataFrame, mistakes: list[str]) -> None:
    """One row is one DICOM file here, so that there are no rows to mend."""
    copies = table[table["image_id"].duplicated(keep=False)]
    if len(copies):
        first = copies["image_id"].iloc[0]
        paths = copies.loc[copies["image_id"] == first, "path"].head(2)
        mistakes.append(
            f"{copies['image_id'].nunique()} image ids (SOPInstanceUID) stand in several files (first: {first} in "
            f"{' and '.join(paths)}). Delete all but one copy of each, or name in pictures the folders to read."
        )


def _answer(mistakes: list[str]) -> str:
    if len(mistakes) == 1:
        return mistakes[0]
    return f"{len(mistakes)} mistakes:\n" + "\n".join(f"- {each}" for each in mistakes)


def answer_to_mistake(manifest: Path, source: Path, *, right: str, wrong: str) -> str:
    """What the user is told when the manifest says ``wrong`` where it should say ``right``; nothing is written.

    Raises:
        UserError: The manifest does not say ``right``, or is read with ``wrong`` in its place as well.
    """
    text = manifest.read_text(encoding="utf-8")
    if right not in text:
        raise UserError(f"{manifest.name} does not say {right!r}")
    try:
        read_own(source, facts_of_text(text.replace(right, wrong), manifest))
    except UserError as error:
        return str(error)
    raise UserError(f"{manifest.name} is read with {wrong!r} in place of {right!r} too: it is no mistake")
