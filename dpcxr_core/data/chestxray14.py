"""The official files of NIH ChestX-ray14 to one cohort table."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import (
    OfficialCohort,
    ages_in_years,
    findings_from_terms,
    label_map,
    manifest,
    recorded_sex,
)
from dpcxr_core.data.splits import carve_validation, check_patient_disjoint
from dpcxr_core.tables import COHORT, checked

DATASET = "chestxray14"


def read_chestxray14(source: Path, *, valid_fraction: float, seed: int) -> OfficialCohort:
    """The cohort table of the folder ``source`` in the official layout, in the order of the official CSV.

    Test patients come from ``test_list.txt``; ``valid_fraction`` of the patients of ``train_val_list.txt``,
    drawn with ``seed``, become the split "valid". The column ``raw_labels`` keeps the official text. An image
    with no file has a missing ``path``; one that neither list names is left out and counted.

    Args:
        source: Folder with ``Data_Entry_2017_v2020.csv`` (or ``Data_Entry_2017.csv``, the first release),
            the two lists, and pictures in ``images/`` or ``images_*/images/``. Nothing outside it is read.
        valid_fraction: Share of the train_val *patients*, between 0 and 1.
        seed: Seeds the draw of the validation patients.

    Raises:
        UserError: A file is missing or not as documented, or the lists share an image or a patient.

    Source:
        Wang et al., ChestX-ray8, CVPR 2017; file facts in ``data_manifests/chestxray14.yaml``.
    """
    facts = manifest("chestxray14.yaml")
    official = _read_entries(_first_present(source, facts["files"]["entries"]), facts["columns"])
    listed_split = _read_lists(source, facts["files"])
    found, n_links_out = find_pictures(source, facts["files"]["pictures"])
    path_of = {PurePosixPath(path).name: path for path in reversed(found)}  # of two with one name, the first

    ages, n_ages = ages_in_years(official["age"])
    sex, n_sex = recorded_sex(official["sex"])
    view = official["view"].where(official["view"].isin(["PA", "AP"]), None)
    table = pd.DataFrame(
        {
            "dataset": DATASET,
            "image_id": official["image"],
            "patient_id": official["patient"],
            "split": official["image"].map(listed_split),
            "view": view,
            "sex": sex,
            "age_years": ages,
            "path": official["image"].map(path_of).astype(object),
            "raw_labels": official["labels"],
        }
    )
    table = table.join(findings_from_terms(official["labels"], label_map(DATASET), "|"))
    in_a_list = table["split"].notna()
    cohort = table[in_a_list].reset_index(drop=True)
    if cohort.empty:
        raise UserError(f"none of the {len(table)} images of {source} is named by a list: is it another release?")
    check_patient_disjoint(cohort)
    cohort = carve_validation(cohort, valid_fraction, np.random.default_rng(seed))
    counts = {
        "rows_in_csv": len(official),
        "rows_in_neither_list": int((~in_a_list).sum()),
        "listed_but_not_in_csv": len(set(listed_split) - set(official["image"])),
        "ages_set_missing": n_ages,
        "sex_set_missing": n_sex,
        "view_set_missing": int((official["view"].ne("") & view.isna()).sum()),
        "links_out_of_source": n_links_out,
    }
    unlisted = set(found) - set(table["path"].dropna())
    return OfficialCohort(checked(cohort, COHORT), counts, tuple(sorted(unlisted)))


def find_pictures(source: Path, patterns: list[str]) -> tuple[list[str], int]:
    """Files in the picture folders, sorted, relative to ``source``; and how many links lead out of it.

    A link out of the source, to a file or a folder, is not followed.
    """
    root = source.resolve()
    found: list[str] = []
    n_links_out = 0
    for folder in sorted({folder for pattern in patterns for folder in source.glob(pattern)}):
        if not folder.resolve().is_relative_to(root):
            n_links_out += 1
            continue
        for path in folder.iterdir():
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                n_links_out += 1
            else:
                found.append(path.relative_to(source).as_posix())
    return sorted(found), n_links_out


def leaves_source(name: str) -> bool:
    """Whether a file name from a table is absolute or climbs with ``..``, so that it must not be opened."""
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts


def _first_present(source: Path, names: list[str]) -> Path:
    if not source.is_dir():
        raise UserError(f"no folder {source}. Expected the ChestX-ray14 download: {names[0]}, lists, images_*/images")
    for name in names:
        if (source / name).is_file():
            return source / name
    raise UserError(f"{source} has no {' or '.join(names)}. Put the official table there (data_manifests/README.md).")


def _read_entries(path: Path, columns: dict[str, list[str]]) -> pd.DataFrame:
    """The columns we need, as text, under our names.

    Two official headers hold commas inside brackets, unquoted in some copies and quoted in others; the
    columns we need stand before them, so rows are cut by position, not by the number of fields.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines)
            header = next(reader, [])
            position = {ours: _position(path, header, theirs) for ours, theirs in columns.items()}
            last = max(position.values())
            rows = []
            for row in reader:
                if len(row) <= last:
                    raise UserError(f"{path.name}, line {reader.line_num}: {len(row)} fields, expected over {last}")
                rows.append([row[place].strip() for place in position.values()])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path.name} is not a CSV text file in UTF-8: {error}") from None
    table = pd.DataFrame(rows, columns=list(position), dtype=object)
    if table.empty:
        raise UserError(f"{path.name} has a header and no rows")
    return table


def _position(path: Path, header: list[str], names: list[str]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise UserError(f"{path.name} has no column {' or '.join(map(repr, names))}; its header is {header[:7]}")


def _read_lists(source: Path, files: dict[str, str]) -> dict[str, str]:
    """Image -> "train" or "test"."""
    split_of: dict[str, str] = {}
    for split, name in (("train", files["train_valid_list"]), ("test", files["test_list"])):
        if not (source / name).is_file():
            raise UserError(f"{source} has no {name}. Put the official list there: it says who trains and who tests.")
        images = (source / name).read_text(encoding="utf-8-sig").split()
        both = set(split_of) & set(images)
        if both:
            raise UserError(f"{len(both)} images are in both lists (first: {min(both)}): the test set is not separate")
        split_of.update(dict.fromkeys(images, split))
    return split_of
