"""The official files of NIH ChestX-ray14 to one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import OfficialTable, ages_in_years, codes_of_terms, recorded_sex, view_of
from dpcxr_core.data.counted import counted
from dpcxr_core.data.manifests import terms_of
from dpcxr_core.data.sources.official_csv import first_present, read_columns
from dpcxr_core.data.sources.picture_files import find_pictures, paths_by_name, unlisted

DATASET = "chestxray14"


def read_chestxray14(source: Path, facts: Mapping[str, Any]) -> OfficialTable:
    """What the official CSV and the two lists of ChestX-ray14 say, in the order of the CSV.

    Args:
        source: Folder with ``Data_Entry_2017_v2020.csv`` (or ``Data_Entry_2017.csv``, the first release), the two
            lists, and pictures in ``images/`` or ``images_*/images/``. Nothing outside it is read.
        facts: ``data_manifests/chestxray14.yaml``.

    Raises:
        UserError: A file is missing or not as documented, a term is none of the set's, or the lists share an image.

    Source:
        Wang et al., ChestX-ray8, CVPR 2017.
    """
    files = facts["files"]
    entries = read_columns(first_present(source, files["entries"], "the ChestX-ray14 download"), facts["columns"])
    _refuse_unknown_terms(entries["labels"], facts)
    listed_split = _read_lists(source, files)
    if not entries["image"].isin(list(listed_split)).any():
        raise UserError(f"none of the {len(entries)} images of {source} is named by a list: is it another release?")
    found, n_links_out = find_pictures(source, files["pictures"])
    paths = entries["image"].map(paths_by_name(found)).astype(object)
    ages, n_ages = ages_in_years(entries["age"])
    sex, n_sex = recorded_sex(entries["sex"])
    table = pd.DataFrame(
        {
            "dataset": DATASET,
            "image_id": entries["image"],
            "patient_id": entries["patient"],
            "split": entries["image"].map(listed_split).astype(object),
            "view": view_of(entries["view"], facts["views"]),
            "sex": sex,
            "age_years": ages,
            "path": paths.where(paths.notna(), None),
            "raw_labels": entries["labels"],
        }
    ).join(codes_of_terms(entries["labels"], terms_of(facts), "|"))
    counts = {
        "rows_in_csv": len(entries),
        "listed_but_not_in_csv": len(set(listed_split) - set(entries["image"])),
        "ages_set_missing": n_ages,
        "sex_set_missing": n_sex,
        "links_out_of_source": n_links_out,
    }
    return OfficialTable(table, counts, unlisted(found, paths))


def _refuse_unknown_terms(labels: pd.Series, facts: Mapping[str, Any]) -> None:
    """A misspelt finding would otherwise be read as one that is not there."""
    known = {term for terms in terms_of(facts).values() for term in terms} | set(facts["labels_not_used"])
    terms = labels[labels != ""].str.split("|").explode().str.strip()
    unknown = terms[~terms.isin(known)]
    if len(unknown):
        raise UserError(f"Finding Labels holds {counted(unknown)}; the set's terms are {', '.join(sorted(known))}")


def _read_lists(source: Path, files: Mapping[str, Any]) -> dict[str, str]:
    """Image -> "train" or "test"."""
    split_of: dict[str, str] = {}
    for split, name in (("train", files["train_valid_list"]), ("test", files["test_list"])):
        try:
            images = first_present(source, [name], "the official lists").read_text(encoding="utf-8-sig").split()
        except UnicodeDecodeError as error:
            raise UserError(f"{name} is not text in UTF-8: {error}. Put the official list there.") from None
        both = set(split_of) & set(images)
        if both:
            raise UserError(f"{len(both)} images are in both lists (first: {min(both)}): the test set is not separate")
        split_of.update(dict.fromkeys(images, split))
    return split_of
