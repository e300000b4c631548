"""The official CSV of PadChest to one table."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import AGE_LIMITS, OfficialTable, recorded_sex
from dpcxr_core.data.manifests import terms_of
from dpcxr_core.data.policies import CODE
from dpcxr_core.data.sources.official_csv import first_present, read_columns, recoded
from dpcxr_core.data.sources.picture_files import find_pictures, paths_by_name, paths_named, unlisted

DATASET = "padchest"
NOT_RECORDED = ("nan", "UNK")  # the publisher wrote missing values as text
NO_FINDING, NORMAL = "no_finding", "normal"
DOUBTFUL = frozenset({"unchanged", "suboptimal study"})  # what such a report leaves unsaid may still be there


def read_padchest(source: Path, facts: Mapping[str, Any]) -> OfficialTable:
    """What the official CSV of PadChest says, in its order.

    Args:
        source: Folder with the official CSV, plain or ``.csv.gz``, and pictures in ``0/`` to ``54/`` or in any
            other folder. Nothing outside it is read.
        facts: ``data_manifests/padchest.yaml``.

    Raises:
        UserError: The CSV is missing or not as documented.

    Source:
        Bustos et al., PadChest, Medical Image Analysis 66 (2020); the tree of terms is
        ``manual_review/trees_code.txt`` of auriml/Rx-thorax-automatic-captioning (71a3209).
    """
    path = first_present(source, facts["files"]["entries"], "the PadChest download")
    entries = read_columns(path, facts["columns"]).replace(dict.fromkeys(NOT_RECORDED, ""))
    found, n_links_out = find_pictures(source, facts["files"]["pictures"], (".png",))
    paths = _paths(entries, found)
    ages, n_ages = _ages(entries["study_date"], entries["birth_year"])
    sex, n_sex = recorded_sex(entries["sex"])
    terms = _terms_of_texts(entries["labels"])
    table = pd.DataFrame(
        {
            "dataset": DATASET,
            "image_id": entries["image"],
            "patient_id": _or_missing(entries["patient"]),
            "split": None,
            "view": recoded(entries["view"], facts["views"], "Projection"),
            "sex": sex,
            "age_years": ages,
            "path": paths,
            "study_id": entries["study"],
            "pediatric": _or_missing(entries["pediatric"]),
            "view_found_by": _or_missing(entries["view_found_by"]),
            "raw_labels": _or_missing(entries["labels"]),
            **_codes(entries["labels"], terms, terms_of(facts)),
            CODE + "labelled_by_model": recoded(entries["labelled_by"], facts["labelled_by_model"], "MethodLabel"),
        }
    )
    counts = {
        "rows_in_csv": len(entries),
        "no_labels": int((entries["labels"] == "").sum()),
        "normal_beside_other_terms": int(table["raw_labels"].map(_normal_beside_others(terms)).eq(True).sum()),
        "ages_not_recorded": int((entries["birth_year"] == "").sum()),
        "ages_set_missing": n_ages,
        "sex_not_recorded": int((entries["sex"] == "").sum()),
        "sex_set_missing": n_sex,
        "links_out_of_source": n_links_out,
    }
    return OfficialTable(table, counts, unlisted(found, paths))


def _or_missing(values: pd.Series) -> pd.Series:
    return values.where(values != "", None)


def _paths(entries: pd.DataFrame, found: Sequence[str]) -> pd.Series:
    """The picture in its official folder; elsewhere, the first of that name."""
    official = paths_named(entries["folder"] + "/" + entries["image"], found)
    anywhere = entries["image"].map(paths_by_name(found)).astype(object)
    paths = official.where(official.notna(), anywhere)
    return paths.where(paths.notna(), None)


def _ages(study_date: pd.Series, birth_year: pd.Series) -> tuple[pd.Series, int]:
    """Year of the study minus year of birth, up to one year too high; and how many given ones were set missing."""
    studied = pd.to_numeric(study_date.where(study_date.str.fullmatch(r"\d{8}"), None).str[:4])
    born = pd.to_numeric(birth_year.where(birth_year.str.fullmatch(r"\d{4}(\.0)?"), None))
    years = studied.astype(float) - born.astype(float)
    years = years.where(years.between(*AGE_LIMITS))
    return years, int((years.isna() & (birth_year != "")).sum())


def _terms_of_texts(texts: pd.Series) -> dict[str, frozenset[str]]:
    """Distinct text of a Python list -> its terms, stripped and in lower case; a blank text is left out."""
    terms, broken = {}, []
    for text in texts[texts != ""].unique():
        try:
            listed = ast.literal_eval(text)
            terms[text] = frozenset(term.strip().lower() for term in listed)
        except (ValueError, SyntaxError, TypeError, AttributeError, MemoryError, RecursionError):
            broken.append(text)
            continue
        if not isinstance(listed, list):
            broken.append(text)
    if broken:
        n_images = int(texts.isin(broken).sum())
        raise UserError(
            f"Labels of {n_images} images are not the text of a list of terms (first: {broken[0][:60]!r}); expected "
            "\"['term', ' another term']\", as released. Was the CSV edited?"
        )
    return terms


def _codes(
    texts: pd.Series, terms: Mapping[str, frozenset[str]], wanted: Mapping[str, Sequence[str]]
) -> dict[str, pd.Series]:
    """``code_<label>`` by label, and ``code_exclude``: "yes" where the publisher says to leave the study out."""
    codes = {
        CODE + label: texts.map({text: _code(label, names, text.lower(), there) for text, there in terms.items()})
        for label, names in wanted.items()
    }
    codes[CODE + "exclude"] = texts.map({text: "yes" if "exclude" in there else "no" for text, there in terms.items()})
    return {name: column.astype(object).where(column.notna(), None) for name, column in codes.items()}


def _code(label: str, names: Sequence[str], text: str, there: frozenset[str]) -> str:
    """One code, by whole terms; whether the label's first name stands anywhere in the text is told apart."""
    is_part = names[0] in text
    if not there.isdisjoint(names):
        return "mentioned" if is_part else "mentioned by another name"
    if is_part:
        return "part of another term"
    return "not mentioned, doubtful" if _doubtful(label, there) else "not mentioned"


def _doubtful(label: str, there: frozenset[str]) -> bool:
    says_nothing_else = there <= DOUBTFUL | {""}
    if label == NO_FINDING:
        return says_nothing_else  # any other term says that something was found
    return NORMAL not in there and (says_nothing_else or not there.isdisjoint(DOUBTFUL))


def _normal_beside_others(terms: Mapping[str, frozenset[str]]) -> dict[str, bool]:
    return {text: NORMAL in there and not there <= DOUBTFUL | {NORMAL, ""} for text, there in terms.items()}
