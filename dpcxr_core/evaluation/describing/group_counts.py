"""Who is in the images: how many images and patients of each view, sex and age."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import AGE_BAND_EDGES, FINDINGS
from dpcxr_core.evaluation.describing.prevalence import NOT_RECORDED, groups_with_unknown
from dpcxr_core.evaluation.groups import SEXES

_COLUMNS = {"view": "view", "sex": "sex", "age_years": "age"} | {each: each.replace("_", " ") for each in FINDINGS}


def group_counts(cohort: pd.DataFrame) -> pd.DataFrame:
    """Columns ``group_column group_value images patients``: all, and every group of view, sex and age band.

    The groups of one column hold all images between them: "not recorded" is one.
    """
    return _counted(cohort, groups_with_unknown(cohort))


def missing_counts(cohort: pd.DataFrame) -> pd.DataFrame:
    """The same for whether the view, the sex, the age and each label is "recorded" or "not recorded"."""
    return _counted(
        cohort,
        {name: np.where(cohort[column].isna(), NOT_RECORDED, "recorded") for column, name in _COLUMNS.items()},
    )


def ages_by_sex(cohort: pd.DataFrame, width: int = 10) -> pd.DataFrame:
    """Columns ``sex age_from images patients``: images of ages from ``age_from`` to ``width`` years later.

    Args:
        cohort: COHORT rows; those without an age are left out.
        width: Of a step, in years.

    Returns:
        A row for each sex that is there ("F", "M", "not recorded") and each step from 0 to 120 years, empty ones too.
    """
    known = cohort[cohort["age_years"].notna()]
    sexes = groups_with_unknown(known)["sex"]
    steps = (known["age_years"].to_numpy() // width * width).astype(int)
    rows = [
        {"sex": sex, "age_from": start, "images": int(inside.sum()), "patients": known["patient_id"][inside].nunique()}
        for sex in (*SEXES, NOT_RECORDED)
        if (sexes == sex).any()
        for start in range(0, AGE_BAND_EDGES[-1] + 1, width)
        for inside in [(sexes == sex) & (steps == start)]
    ]
    return pd.DataFrame(rows, columns=["sex", "age_from", "images", "patients"])


def _counted(cohort: pd.DataFrame, columns: Mapping[str, NDArray[np.object_]]) -> pd.DataFrame:
    parts = []
    for column, groups in columns.items():
        table = cohort["patient_id"].groupby(groups).agg(images="size", patients="nunique")
        parts.append(table.rename_axis("group_value").reset_index().assign(group_column=column))
    return pd.concat(parts, ignore_index=True)[["group_column", "group_value", "images", "patients"]]
