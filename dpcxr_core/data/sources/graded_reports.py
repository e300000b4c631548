"""Findings that a radiologist graded, some on each side: from columns of grades to one code a finding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.data.manifests import terms_of
from dpcxr_core.data.policies import CODE
from dpcxr_core.data.sources.official_csv import recoded

GRADE = "grade_"  # the column "grade_atelectasis_left" keeps the grade of one side
MEANINGS = ("none", "questionable", "not graded", "present")  # from the least to the most telling


def graded_columns(facts: Mapping[str, Any]) -> list[str]:
    """Our names of all columns that hold grades, in the order of the manifest."""
    return [column for scale in facts["scales"].values() for column in scale["columns"]]


def grades_of(entries: pd.DataFrame, facts: Mapping[str, Any]) -> pd.DataFrame:
    """The columns of grades as the set codes them, by the closed scales of the manifest; "3.0" is read as "3".

    The manifest's ``scales`` name, for each kind of grade: ``columns``; ``grades``, from the least to the most, each
    with its meaning (``MEANINGS``); and ``blank``, the grade that an empty field stands for.

    Raises:
        UserError: A column holds a value outside its scale; names the first ones with their counts.
    """
    grades = {}
    for scale in facts["scales"].values():
        coding = {**{grade: grade for grade in scale["grades"]}, "": scale["blank"]}
        for column in scale["columns"]:
            grades[column] = recoded(entries[column].str.removesuffix(".0"), coding, column)
    return pd.DataFrame(grades, index=entries.index, dtype=object)


def codes_of_grades(grades: pd.DataFrame, facts: Mapping[str, Any]) -> pd.DataFrame:
    """``code_<label>``: the larger grade of a finding's columns; for no finding, the most telling of all meanings.

    What is larger is said by the order of the scale, not by the number: in UKA-CXR, 5 is a question mark and less
    than 2. A side that was not graded counts for more than a questionable one, as the finding may be there.
    """
    scale_of = {column: scale for scale in facts["scales"].values() for column in scale["columns"]}
    codes = {}
    for label, columns in terms_of(facts).items():
        if label == "no_finding":
            codes[CODE + label] = _most_telling(meanings_of(grades[columns], facts))
        else:
            order = list(scale_of[columns[0]]["grades"])
            codes[CODE + label] = np.array(order, dtype=object)[_largest(grades[columns], order)]
    return pd.DataFrame(codes, index=grades.index, dtype=object)


def meanings_of(grades: pd.DataFrame, facts: Mapping[str, Any]) -> pd.DataFrame:
    """Each grade's meaning, one of ``MEANINGS``."""
    scale_of = {column: scale["grades"] for scale in facts["scales"].values() for column in scale["columns"]}
    return pd.DataFrame({column: grades[column].map(dict(scale_of[column])) for column in grades})


def _most_telling(meanings: pd.DataFrame) -> np.ndarray:
    return np.array(MEANINGS, dtype=object)[_largest(meanings, list(MEANINGS))]


def _largest(values: pd.DataFrame, order: list[str]) -> np.ndarray:
    """Place in ``order`` of each row's largest value."""
    rank = {value: place for place, value in enumerate(order)}
    return np.stack([values[column].map(rank).to_numpy(int) for column in values], axis=1).max(axis=1)
