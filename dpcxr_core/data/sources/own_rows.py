"""The rows of a hospital's images, still in its own words: from its table, from DICOM headers or from file names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from dpcxr_core.data.sources.own_dicom import TAGS, read_headers
from dpcxr_core.data.sources.own_table import read_own_table
from dpcxr_core.data.sources.own_values import RAW
from dpcxr_core.data.sources.picture_files import leaves_source, said_of_links

_OURS_OF_TAG = {"file": "path", **{tag: ours for ours, tag in TAGS.items()}, "AccessionNumber": "accession"}


def rows_of(
    source: Path, mapping: Mapping[str, Any], found: Sequence[str], mistakes: list[str], n_links_out: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """One row an image, and counts: text columns ``image patient sex ...`` and, where recorded, ``raw_<label>``.

    Args:
        source: The hospital's folder.
        mapping: ``own_facts(...)["mapping"]``.
        found: Pictures in the source, relative to it.
        mistakes: What does not fit is told here.
        n_links_out: Links that lead out of the source, behind which pictures may lie.
    """
    if mapping["rows_from"] == "table":
        return _of_table(source, mapping, found, mistakes, n_links_out)
    if mapping["rows_from"] == "dicom":
        raw, counts = read_headers(source, found)
        if raw.empty and found:
            mistakes.append(
                f"none of {len(found)} files (first: {found[0]}) is a DICOM radiograph; left out: {counts}."
                f"{said_of_links(n_links_out)}"
            )
    else:
        raw, counts = pd.DataFrame({"image": found, "path": found}, dtype=object), {}
    if mapping["table"].get("file"):
        raw, joined = _with_label_table(source, mapping, raw, mistakes)
        counts |= joined
    if mapping["labels"]["kind"] == "folders":
        raw[RAW + "labels"] = [PurePosixPath(path).parent.as_posix() for path in raw["path"]]
    return raw, counts


def _label_columns(labels: Mapping[str, Any]) -> dict[str, str]:
    if labels["kind"] == "columns":
        return {RAW + finding: columns[0] for finding, columns in labels["recorded"].items() if columns}
    return {RAW + "labels": labels["column"]} if labels["kind"] == "terms" else {}


def _of_table(
    source: Path, mapping: Mapping[str, Any], found: Sequence[str], mistakes: list[str], n_links_out: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    wanted = {**mapping["columns"], **_label_columns(mapping["labels"]), **mapping["keep"]}
    raw = read_own_table(source, mapping["table"], wanted)
    n_rows = len(raw)
    if "folder" in raw:
        raw = pictures_in_folders(raw, found, mistakes)
    else:
        raw["path"] = paths_by_end(raw["image"], found, mistakes)
    if mapping["labels"]["kind"] == "folders":
        raw[RAW + "labels"] = raw["path"].map(_folder_of)
    missing = raw["path"].isna()
    if 2 * missing.sum() > len(raw):
        first, there = ", ".join(raw.loc[missing, "image"].head(3)), ", ".join(found[:3]) or "none"
        of_files = ("pictures", ", with or without its ending")
        what, ending = ("folders with pictures", "") if "folder" in raw else of_files
        mistakes.append(
            f"{int(missing.sum())} of {len(raw)} {what} were not found (first: {first}). Looked for: the end of a "
            f"path below {', '.join(mapping['pictures'])} in {source}{ending}. "
            f"Pictures there: {len(found)} (first: {there}).{said_of_links(n_links_out)}"
        )
    return raw, {
        "rows_in_table": n_rows,
        "pictures_not_found": int(missing.sum()),
        "names_that_leave_the_source": sum(map(leaves_source, raw.loc[missing, "image"])),
    }


def _folder_of(path: object) -> str:
    return PurePosixPath(path).parent.as_posix() if isinstance(path, str) else ""  # a missing one may be a NaN


def paths_by_end(names: pd.Series, found: Sequence[str], mistakes: list[str]) -> pd.Series:
    """The picture of each name: the one whose path ends with it, ``a.png`` or ``b/a.png``, with or without ``.png``.

    A name without such a picture is missing here; a name that fits several pictures is a mistake.
    """
    return _by_end(names, found, _ends_of_picture, "pictures", mistakes)


def pictures_in_folders(raw: pd.DataFrame, found: Sequence[str], mistakes: list[str]) -> pd.DataFrame:
    """A row a picture, with ``image`` and ``path``, of rows about all pictures in a ``folder``, at any depth.

    A folder is the one whose path ends with the name, ``17`` or ``north/17``. One without pictures keeps its row,
    whose path is missing; a name that fits several folders is a mistake.
    """
    pictures: dict[str, list[str]] = {}
    for path in found:
        for folder in PurePosixPath(path).parents:
            pictures.setdefault(str(folder), []).append(path)
    folders = _by_end(raw["folder"].str.rstrip("/\\"), list(pictures), _end, "folders", mistakes)
    rows = raw.assign(path=folders.map(lambda folder: pictures.get(folder, [None]))).explode("path", ignore_index=True)
    return rows.assign(image=rows["path"].where(rows["path"].notna(), rows["folder"]))


def _by_end(
    names: pd.Series, found: Sequence[str], ends_of: Callable[[str, int], set[str]], what: str, mistakes: list[str]
) -> pd.Series:
    cleaned = names.str.replace("\\", "/").str.removeprefix("./")
    paths = pd.Series(None, index=names.index, dtype=object)
    for depth, group in cleaned.groupby(cleaned.str.count("/")):
        n_parts = int(depth) + 1
        chosen = group.map(_path_of_end(found, n_parts, ends_of)).astype(object)
        several = names[group.index][group.isin(group[chosen == ""].unique())].unique()
        if len(several):
            fits = [path for path in found if ends_of(path, n_parts) & {cleaned[names == several[0]].iloc[0]}]
            mistakes.append(
                f"{len(several)} names fit several {what} (first: {several[0]!r} fits {', '.join(fits[:3])}). "
                "Give the folder with the name."
            )
        paths[group.index] = chosen.where(chosen.notna() & (chosen != ""), None)
    return paths


def _path_of_end(found: Sequence[str], n_parts: int, ends_of: Callable[[str, int], set[str]]) -> dict[str, str]:
    """End of a path -> path; "" where several paths end like that."""
    by_end: dict[str, str] = {}
    for path in found:
        for end in ends_of(path, n_parts):
            by_end[end] = path if by_end.get(end, path) == path else ""
    return by_end


def _end(path: str, n_parts: int) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[-n_parts:])} if len(parts) >= n_parts else set()


def _ends_of_picture(path: str, n_parts: int) -> set[str]:
    """With and without what ends a file's name."""
    ends = _end(path, n_parts)
    return ends | {stem for stem, dot, ending in (end.rpartition(".") for end in ends) if dot and "/" not in ending}


def _with_label_table(
    source: Path, mapping: Mapping[str, Any], raw: pd.DataFrame, mistakes: list[str]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """``raw`` with the columns of a table about files, images or studies; a blank key fits nothing."""
    table = mapping["table"]
    others = {**mapping["columns"], **_label_columns(mapping["labels"]), **mapping["keep"]}
    listed = read_own_table(source, table, {"key": table["key"], **others})
    keyless = listed["key"] == ""  # as is a tag that is absent, of images of anybody
    labels = listed[~keyless].drop_duplicates()
    if table["key_is"] == "file":
        labels["key"] = paths_by_end(labels["key"], raw["path"].tolist(), mistakes)
    key = raw[_OURS_OF_TAG[table["key_is"]]]
    known = labels[labels["key"].isin(key)]
    twice = known.loc[known["key"].duplicated(), "key"].unique()
    if len(twice):
        first = ", ".join(map(str, twice[:3]))
        mistakes.append(
            f"{table['file']} has rows that differ for {len(twice)} of its keys (first: {first}). Keep one."
        )
    joined = known.drop_duplicates("key").set_index("key").reindex(key.to_numpy())
    without = ~key.isin(known["key"]).to_numpy()
    if without.all() and len(raw):
        mistakes.append(
            f"no row of {table['file']} fits an image by {table['key_is']}: the images have "
            f"{_first(key)}; column {table['key']!r} has {_first(listed['key'])}. "
            "Mend table.key or table.key_is."
        )
    for name in others:
        raw[name] = joined[name].astype(object).where(~without, None).to_numpy()
    return raw, {
        "images_without_a_label_row": int(without.sum()),
        "label_rows_without_an_image": int(len(labels) - len(known)),
        "label_rows_without_a_key": int(keyless.sum()),
    }


def _first(keys: pd.Series) -> str:
    return ", ".join(keys[keys != ""].head(3)) or "none"
