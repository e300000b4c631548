"""A hospital's values to ours, by the codings of its manifest; whatever it does not map is named with its counts.

Every function appends what is wrong to ``mistakes`` and goes on, so that one answer names all that has to be mended.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.cohort import AGE_LIMITS, DAYS_IN_A_YEAR, ages_in_years
from dpcxr_core.data.counted import counted
from dpcxr_core.data.policies import CODE

RAW = "raw_"
_AGE = r"\d+(\.\d+)?[YMWD]?"


def decoded(values: pd.Series, coding: Mapping[str, str], what: str, mistakes: list[str]) -> pd.Series:
    """``values`` by a closed ``coding``; missing where it says so, and where there is no text that it maps.

    Args:
        values: The hospital's texts; "" is blank, None is no entry at all.
        coding: The hospital's text -> ours, or "missing".
        what: The key of the manifest to mend.
        mistakes: Texts that the coding does not have are told here.
    """
    coded = values.map(dict(coding)).astype(object)
    unknown = values[coded.isna() & values.notna() & (values != "")]
    if len(unknown):
        known = ", ".join(map(repr, coding)) or "nothing"
        mistakes.append(f"{what} does not map {counted(unknown)}; it maps {known}. Add them there, or under missing.")
    return coded.where(coded.notna() & (coded != "missing"), None)


def ages_of(raw: pd.DataFrame, age: Mapping[str, Any], mistakes: list[str]) -> tuple[pd.Series, int]:
    """Ages in years, and how many that were given were set to missing.

    An age is taken from the column of ages where it has one that is possible, else from the dates of birth and study.
    Texts are read as the manifest says; none is guessed. An age outside 0 to 120 is missing; it is never clipped.
    """
    text = raw.get("age", pd.Series("", index=raw.index, dtype=object))
    mapped = text.map({"": "", **age["values"]}).astype(object)
    texts = mapped.where(mapped.notna(), text).str.upper()
    unreadable = (texts != "") & (texts != "MISSING") & ~texts.str.fullmatch(_AGE)
    if unreadable.any():
        mistakes.append(
            f"age: {counted(text[unreadable])} is neither a number nor like 058Y. "
            "Say what it means in age.values: an age, or missing."
        )
    bare = texts.str.fullmatch(r"\d+(\.\d+)?")
    years, _ = ages_in_years(texts.mask(bare, texts + age["unit"][0].upper()).mask(unreadable, ""))
    given = text != ""
    if "birth_date" in raw:
        born, seen = (_dates(raw[name], age, name, mistakes) for name in ("birth_date", "study_date"))
        by_dates = (seen - born).dt.days / DAYS_IN_A_YEAR
        years = years.where(years.notna(), by_dates.where(by_dates.between(*AGE_LIMITS)))
        given = given | ((raw["birth_date"] != "") & (raw["study_date"] != ""))
    return years.astype(float), int((given & years.isna()).sum())


def _dates(texts: pd.Series, age: Mapping[str, Any], what: str, mistakes: list[str]) -> pd.Series:
    said_missing = [text for text, meaning in age["values"].items() if meaning == "missing"]
    known = texts.mask(texts.isin(said_missing), "")
    distinct = pd.Series(known.unique(), dtype=object)
    dates = pd.to_datetime(distinct.where(distinct != "", None), format=age["date_format"], errors="coerce")
    found = known.map(dict(zip(distinct, dates, strict=True)))
    unreadable = texts[found.isna() & (known != "")]
    if len(unreadable):
        mistakes.append(
            f"{what}: {counted(unreadable)} is no date by age.date_format {age['date_format']!r}. "
            "Mend the format, or list the texts in age.missing."
        )
    return pd.to_datetime(found)


def codes_of(raw: pd.DataFrame, labels: Mapping[str, Any], mistakes: list[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """``code_<finding>`` for the five findings, and counts; a finding that is not recorded has no code at all."""
    codes, counts = (_of_columns if labels["kind"] == "columns" else _of_terms)(raw, labels, mistakes)
    for finding, texts in labels["recorded"].items():
        if not texts and not labels.get("uncertain", {}).get(finding):
            codes[CODE + finding] = None
            counts[f"{finding}_is_not_recorded"] = len(raw)
    positive = pd.DataFrame({finding: codes[CODE + finding] == "positive" for finding in FINDINGS})
    beside = positive["no_finding"] & positive.drop(columns="no_finding").any(axis=1)
    return codes, {**counts, "no_finding_beside_a_finding": int(beside.sum())}


def _of_columns(
    raw: pd.DataFrame, labels: Mapping[str, Any], mistakes: list[str]
) -> tuple[pd.DataFrame, dict[str, int]]:
    recorded = [finding for finding, columns in labels["recorded"].items() if columns]
    found = {
        CODE + finding: decoded(
            raw[RAW + finding], labels["values"], f"labels.values, column {labels['recorded'][finding][0]!r},", mistakes
        )
        for finding in recorded
    }
    codes = pd.DataFrame(found, index=raw.index, dtype=object)
    return codes, {f"{finding}_set_missing": int(codes[CODE + finding].isna().sum()) for finding in recorded}


def _of_terms(raw: pd.DataFrame, labels: Mapping[str, Any], mistakes: list[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    texts = raw[RAW + "labels"]
    terms = {text: _parts(text, labels["separator"]) for text in texts.unique() if text}
    used = {term for by in (labels["recorded"], labels["uncertain"]) for each in by.values() for term in each}
    not_used = set(labels["not_used"])
    rows_of_text = texts.value_counts().to_dict()
    unknown: Counter[str] = Counter()
    for text, there in terms.items():
        for term in _unmapped(text, there, used, not_used, of_folders=labels["kind"] == "folders"):
            unknown[term] += rows_of_text[text]
    if unknown and "any" not in not_used:
        mistakes.append(
            f"labels does not map {counted(unknown, 'images')}. Add them to a finding, or to labels.not_used."
        )
    codes = pd.DataFrame(index=raw.index)
    for finding in FINDINGS:
        sure, unsure = frozenset(labels["recorded"][finding]), frozenset(labels["uncertain"][finding])
        meant = {text: _code(there, sure, unsure, labels["absent"]) for text, there in terms.items()}
        of_images = texts.map(meant).astype(object)
        codes[CODE + finding] = of_images.where(of_images.notna(), None)
    return codes, {"rows_without_labels": int((texts.isna() | (texts == "")).sum())}


def _parts(text: str, separator: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(separator) if part.strip())


def _unmapped(text: str, there: frozenset[str], used: set[str], not_used: set[str], *, of_folders: bool) -> set[str]:
    if of_folders:  # of the folders above a picture, one has to be known, not all of them
        return set() if there & (used | not_used) else {text}
    return set(there - used - not_used)


def _code(there: frozenset[str], sure: frozenset[str], unsure: frozenset[str], absent: str) -> str:
    return "positive" if there & sure else "uncertain" if there & unsure else absent


def patients_of(raw: pd.DataFrame, mapping: Mapping[str, Any], mistakes: list[str]) -> pd.Series:
    """The patient of each row; missing where the manifest lets rows without a patient be left out."""
    if mapping["patient"] == "none":
        return raw["image"].rename("patient_id")
    if mapping["patient"] == "recorded":
        patients, looked_in = raw["patient"], f"column {mapping['columns'].get('patient', 'PatientID')!r}"
    else:
        names, of_path = raw["path"].where(raw["path"].notna(), raw["image"]), "/" in mapping["patient"]
        names = names if of_path else names.str.rsplit("/", n=1).str[-1]
        found = {name: re.search(mapping["patient"], name) for name in names.unique()}
        patients = names.map({name: match.group(1) or "" if match else "" for name, match in found.items()})
        looked_in = f"the {'path' if of_path else 'file name'} by {mapping['patient']!r}"
    nobody = patients == ""
    first = ", ".join(raw.loc[nobody, "image"].head(3))
    if len(raw) and nobody.all():  # whether or not such rows are left out: no image would be left
        mistakes.append(
            f"none of {len(raw)} rows has a patient in {looked_in} (first: {first}). Say where else it stands, such as "
            "patient: '^([0-9]+)_' for a part of the file name, '^([^/]+)/' for the first folder, or 'patient: none' "
            "if it is not known: then every image counts as a patient of its own."
        )
    elif nobody.any() and mapping["rows_without_patient"] == "refuse":
        mistakes.append(
            f"{int(nobody.sum())} of {len(raw)} rows have no patient in {looked_in} (first: {first}). "
            "Mend them, or say 'rows_without_patient: leave_out'."
        )
    return patients.astype(object).where(~nobody, None).rename("patient_id")
