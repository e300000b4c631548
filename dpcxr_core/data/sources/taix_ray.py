"""TAIX-Ray, as its code or as Hugging Face lays it out, to one table; and its pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import OfficialTable, ages_in_years, recorded_sex
from dpcxr_core.data.pictures.files import decode_picture, read_picture
from dpcxr_core.data.pictures.picture import Picture, UnreadableImageError
from dpcxr_core.data.sources.forward_rows import ForwardRows, row_in_file
from dpcxr_core.data.sources.graded_reports import GRADE, codes_of_grades, graded_columns, grades_of, meanings_of
from dpcxr_core.data.sources.official_csv import first_present, present, read_columns, recoded
from dpcxr_core.data.sources.optional_columns import read_with_optional
from dpcxr_core.data.sources.picture_files import find_pictures, paths_by_name, unlisted

DATASET = "taix_ray"
_ROW = re.compile(r"\d+")
SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})\.parquet")


def read_taix_ray(source: Path, facts: Mapping[str, Any]) -> OfficialTable:
    """What the tables of TAIX-Ray say; the age, given in days, in years.

    Two layouts are read: ``metadata/annotation.csv``, ``metadata/split.csv`` and pictures ``data/<UID>.png``, which
    the publisher's script writes; or the parquet files of Hugging Face with the pictures in them, where a picture's
    path is ``data/train-00000-of-00120.parquet#17``.

    Args:
        source: Folder of the download. Nothing outside it is read.
        facts: ``data_manifests/taix_ray.yaml``.

    Raises:
        UserError: A file is missing or not as documented.

    Source:
        Truhn et al., Scientific Data 13 (2026) 632; mueller-franzes/TAIX-Ray (e7c8555).
    """
    annotation = present(source, facts["files"]["annotation"])
    entries, found, counts = _from_csv(source, annotation, facts) if annotation else _from_parquet(source, facts)
    ages, n_ages = ages_in_years((entries["age"] + "D").where(entries["age"] != "", ""))
    sex, n_sex = recorded_sex(entries["sex"])
    grades = grades_of(entries[graded_columns(facts)], facts)
    table = pd.DataFrame(
        {
            "dataset": DATASET,
            "image_id": entries["image"],
            "patient_id": entries["patient"],
            "split": recoded(entries["split"], facts["splits"], "Split"),
            "view": facts["every_view"],
            "sex": sex,
            "age_years": ages,
            "path": entries["path"],
            "reader_id": entries["reader"],
            "blurred_study_date": entries["study_date"],
        }
    ).join([grades.add_prefix(GRADE), codes_of_grades(grades, facts)])
    counts |= {
        "images_with_a_finding_not_graded": int((meanings_of(grades, facts) == "not graded").any(axis=1).sum()),
        "ages_set_missing": n_ages,
        "sex_set_missing": n_sex,
    }
    return OfficialTable(table, counts, unlisted(found, table["path"]))


def _from_csv(
    source: Path, annotation: Path, facts: Mapping[str, Any]
) -> tuple[pd.DataFrame, list[str], dict[str, int]]:
    files = facts["files"]
    entries = read_columns(annotation, facts["columns"])
    splits = read_with_optional(
        first_present(source, files["split"], "the TAIX-Ray download"),
        facts["split_columns"],
        facts["optional_split_columns"],
    )
    if "fold" in splits:
        splits = splits[splits["fold"] == facts["fold"]]
    splits = splits[["image", "split"]].drop_duplicates()
    if splits["image"].duplicated().any():
        twice = splits.loc[splits["image"].duplicated(), "image"]
        raise UserError(f"{files['split'][0]} puts {len(twice)} images in two splits; keep one fold")
    listed = dict(zip(splits["image"], splits["split"], strict=True))
    found, n_links_out = find_pictures(source, files["pictures"], (".png",))
    paths = (entries["image"] + ".png").map(paths_by_name(found)).astype(object)
    split = entries["image"].map(listed).astype(object)
    counts = {
        "rows_in_csv": len(entries),
        "in_annotation_but_not_in_split": int(split.isna().sum()),
        "in_split_but_not_in_annotation": len(set(listed) - set(entries["image"])),
        "links_out_of_source": n_links_out,
    }
    return entries.assign(split=split.fillna(""), path=paths.where(paths.notna(), None)), found, counts


def _from_parquet(source: Path, facts: Mapping[str, Any]) -> tuple[pd.DataFrame, list[str], dict[str, int]]:
    shards, n_missing = _shards(source, facts)
    if not shards:
        files = facts["files"]
        raise UserError(
            f"{source} has neither {files['annotation'][0]} nor parquet files in {' or '.join(files['parquet'])}. "
            "Put the TAIX-Ray download there (data_manifests/README.md)."
        )
    columns = {**facts["columns"], **facts["split_columns"]}
    parts = [_shard_table(source, shard, columns) for shard in shards]
    entries = pd.concat(parts, ignore_index=True)
    return entries, [], {"rows_in_parquet": len(entries), "parquet_files_missing": n_missing}


def _shards(source: Path, facts: Mapping[str, Any]) -> tuple[list[str], int]:
    """The parquet files of the first configuration that is there, and how many of it are missing, by their names."""
    for folder in facts["files"]["parquet"]:
        found, _ = find_pictures(source, [folder], (".parquet",))
        matches = [match for name in found if (match := SHARD.fullmatch(name))]
        if matches:
            wanted = {match[1]: int(match[2]) for match in matches}
            return [match[0] for match in matches], sum(wanted.values()) - len(matches)
    return [], 0


def _shard_table(source: Path, shard: str, columns: Mapping[str, list[str]]) -> pd.DataFrame:
    try:
        with pq.ParquetFile(source / shard) as opened:
            names = opened.schema_arrow.names
            missing = [theirs[0] for theirs in columns.values() if theirs[0] not in names]
            if missing or "Image" not in names:
                raise UserError(f"{shard} has no column {', '.join(missing) or 'Image'}; it has {names}")
            table = opened.read(columns=[theirs[0] for theirs in columns.values()])
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{shard} is damaged: {error}. Download it again.") from None
    texts = {ours: table[theirs[0]].cast(pa.string()).to_pandas() for ours, theirs in columns.items()}
    entries = pd.DataFrame(texts).astype(object).fillna("")
    return entries.assign(path=(f"{shard}#" + pd.Series(np.arange(len(entries))).astype(str)).astype(object))


def read_taix_ray_picture(source: Path, path: str) -> Picture:
    """The picture at a ``path`` of ``read_taix_ray``: a PNG file, or with a ``#`` a row of a parquet file.

    A process keeps the group of rows that it read last open, so that pictures asked for in rising order are unpacked
    once.

    Raises:
        UnreadableImageError: There is no such picture, or it is damaged; the reason says which.
        OSError: The disk failed.
    """
    if "#" not in path:
        return read_picture(source / path)
    shard, row = row_in_file(source, path, _ROW)
    try:
        group, place = _group_of(shard, int(row[0]))
        content = _rows_of(shard, group).row(place)
    except (pa.ArrowException, IndexError) as error:
        raise UnreadableImageError(f"parquet file: {error}") from None
    except OSError as error:
        if error.errno:
            raise
        raise UnreadableImageError(f"parquet file damaged: {error}") from None  # pyarrow's own, not the disk's
    if content is None:
        raise UnreadableImageError("the row holds no picture")
    return decode_picture(content)


def _group_of(shard: Path, row: int) -> tuple[int, int]:
    """Number of the row group that holds ``row``, and its place there."""
    ends = _group_ends(shard)
    group = int(np.searchsorted(ends, row, side="right"))
    if group == len(ends):
        raise IndexError(f"no row {row}; there are {ends[-1] if len(ends) else 0}")
    return group, row - (int(ends[group - 1]) if group else 0)


@lru_cache(maxsize=1)
def _group_ends(shard: Path) -> np.ndarray:
    with pq.ParquetFile(shard) as opened:
        sizes = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
    return np.cumsum(sizes)


@lru_cache(maxsize=1)
def _rows_of(shard: Path, group: int) -> ForwardRows[bytes | None]:
    return ForwardRows(lambda: _pictures_in(shard, group))


def _pictures_in(shard: Path, group: int) -> Iterator[bytes | None]:
    with pq.ParquetFile(shard, pre_buffer=False) as opened:
        for batch in opened.iter_batches(batch_size=1, row_groups=[group], columns=["Image"], use_threads=False):
            picture = batch.column(0)[0].as_py()
            yield picture and picture["bytes"]
