"""Groups of patients that are compared: all, by recorded sex, age band and view, or by any column of the cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.config import AGE_BAND_EDGES, EvaluationChoice, UserError

MIN_COUNT = 10
MOST_GROUPS = 20
SEXES = ("F", "M")
VIEWS = ("AP", "PA")


@dataclass(frozen=True, eq=False)
class GroupColumn:
    """A way to part images into groups, and the two groups that a signed difference compares.

    Attributes:
        name: What the metrics table calls it.
        groups: Its groups, in the order they are shown; a group may hold no image.
        of_image: ``(n_images,)`` of group names; None where it was not recorded.
        contrast: ``(minuend, subtrahend)`` of signed differences; None where no difference has a natural sign.
        contrast_name: What the metrics table calls that difference.
    """

    name: str
    groups: tuple[str, ...]
    of_image: NDArray[np.object_]
    contrast: tuple[str, str] | None = None
    contrast_name: str = ""


def group_columns(cohort: pd.DataFrame, choice: EvaluationChoice) -> tuple[GroupColumn, ...]:
    """The whole of one data set as the column "all", then the columns of ``choice`` that it has, in their order.

    Args:
        cohort: COHORT rows of one data set.
        choice: Names the columns. "sex", "age_band", "sex_and_age" and "view" are always there, if need be with
            empty groups. Any other name is a column of the cohort, whose values are the groups, as text and sorted;
            a data set that lacks it, or that recorded nothing there, has no such column.

    Raises:
        UserError: A column holds more than 20 values.
    """
    whole = GroupColumn("all", ("all",), np.full(len(cohort), "all", dtype=object))
    named = [
        _KNOWN[name](cohort, choice) if name in _KNOWN else _of_values(cohort, name)
        for name in choice.group_columns
        if name in _KNOWN or recorded_in(cohort, name)
    ]
    return (whole, *named)


def recorded_in(cohort: pd.DataFrame, name: str) -> bool:
    """Whether any image has a value in that column."""
    return name in cohort and bool(cohort[name].notna().any())


def _sex(cohort: pd.DataFrame, _: EvaluationChoice) -> GroupColumn:
    return GroupColumn("sex", SEXES, _or_none(cohort["sex"]), SEXES, "F-M")


def _view(cohort: pd.DataFrame, _: EvaluationChoice) -> GroupColumn:
    return GroupColumn("view", VIEWS, _or_none(cohort["view"]), VIEWS, "AP-PA")


def _age_band(cohort: pd.DataFrame, choice: EvaluationChoice) -> GroupColumn:
    edges = choice.age_band_edges
    names = age_band_names(edges)
    oldest_and_youngest = names[-1], names[0]
    bands = age_band(cohort["age_years"], edges)
    return GroupColumn("age_band", names, bands, oldest_and_youngest, " - ".join(oldest_and_youngest))


def _sex_and_age(cohort: pd.DataFrame, choice: EvaluationChoice) -> GroupColumn:
    sex, band = _sex(cohort, choice), _age_band(cohort, choice)
    pairs = zip(sex.of_image, band.of_image, strict=True)
    crossed = [None if None in pair else ", ".join(pair) for pair in pairs]
    names = tuple(", ".join(pair) for pair in product(sex.groups, band.groups))
    return GroupColumn("sex_and_age", names, np.array(crossed, dtype=object))


_KNOWN = {"sex": _sex, "age_band": _age_band, "sex_and_age": _sex_and_age, "view": _view}
KNOWN_COLUMNS = tuple(_KNOWN)


def strata_of(cohort: pd.DataFrame, choice: EvaluationChoice) -> NDArray[np.object_]:
    """``(n_images,)`` of text: recorded sex and age band together, either of which may be unknown."""
    sex, band = (column.of_image.astype(str) for column in (_sex(cohort, choice), _age_band(cohort, choice)))
    return np.array([f"{each}, {years}" for each, years in zip(sex, band, strict=True)], dtype=object)


def _of_values(cohort: pd.DataFrame, name: str) -> GroupColumn:
    values = np.array([None if pd.isna(value) else str(value) for value in cohort[name]], dtype=object)
    names = tuple(sorted({value for value in values if value is not None}))
    if len(names) > MOST_GROUPS:
        raise UserError(
            f"group column {name!r} parts the images into {len(names)} groups; at most {MOST_GROUPS} can be compared. "
            "Join values, or name another column in group_columns."
        )
    return GroupColumn(name, names, values)


def _or_none(values: pd.Series) -> NDArray[np.object_]:
    return values.astype(object).where(values.notna(), None).to_numpy(dtype=object)


def age_band_names(edges: Sequence[int] = AGE_BAND_EDGES) -> tuple[str, ...]:
    """Names of the age bands between ``edges`` (as ``EvaluationChoice`` checks them), youngest first; the last is open.

    Example:
        >>> age_band_names((0, 40, 70, 120))
        ('0-39', '40-69', '70+')
    """
    closed = [f"{low}-{high - 1}" for low, high in zip(edges[:-2], edges[1:-1], strict=True)]
    return (*closed, f"{edges[-2]}+")


def age_band(age_years: ArrayLike, edges: Sequence[int] = AGE_BAND_EDGES) -> NDArray[np.object_]:
    """Age band of each patient, by name; None where the age is missing or outside the edges.

    Args:
        age_years: Ages in years; NaN where not recorded.
        edges: Lower ends of the bands and, last, the oldest age believed. A band holds its lower end.

    Returns:
        ``(n_images,)`` of names from ``age_band_names``, and None.

    Example:
        >>> age_band([39.9, 40, 70, float("nan")]).tolist()
        ['0-39', '40-69', '70+', None]
    """
    names = np.array([*age_band_names(edges), None], dtype=object)
    age_years = np.asarray(age_years, dtype=float)
    band = np.searchsorted(edges[1:-1], age_years, side="right")
    recorded = (age_years >= edges[0]) & (age_years <= edges[-1])
    return names[np.where(recorded, band, -1)]


def unmeasurable(y_true: NDArray, patient_of_image: NDArray) -> str:
    """Why a finding cannot be measured in a group, or "" where 10 patients have a positive image and 10 a negative one.

    Ten images of one patient say little more than one of them. A patient may have both kinds.

    Args:
        y_true: ``(n_images,)`` of 1, 0 and NaN.
        patient_of_image: ``(n_images,)``, whose image it is.

    Example:
        >>> unmeasurable(np.repeat([1.0, 0.0], 10), np.arange(20))
        ''
        >>> unmeasurable(np.repeat([1.0, 0.0], 10), np.minimum(np.arange(20), 12))
        'negatives of fewer than 10 patients'
    """
    short = []
    for name, label in (("positives", 1), ("negatives", 0)):
        patients = patient_of_image[y_true == label]
        if patients.size < MIN_COUNT:
            short.append(_few(name))
        elif np.unique(patients).size < MIN_COUNT:
            short.append(few_patients(name))
    return " and ".join(short)


def patients_of_rarer_class(y_true: NDArray, patient_of_image: NDArray) -> int:
    """How many patients have an image of the class, positive or negative, that fewer patients have.

    Args:
        y_true: As ``unmeasurable``.
        patient_of_image: As there.

    Example:
        >>> patients_of_rarer_class(np.array([1.0, 1.0, 0.0, 0.0]), np.array([7, 7, 8, 9]))
        1
    """
    return min(np.unique(patient_of_image[y_true == label]).size for label in (0, 1))


def few_patients(name: str) -> str:
    """Why many images cannot be measured: ``name``, "positives" or "negatives", are of fewer than 10 patients."""
    return f"{name} of {_few('patients')}"


def too_few(n_positive: int, n_negative: int) -> str:
    """Why a group cannot be measured, or "" when it holds 10 positives and 10 negatives, whoever they are of.

    Exact counts stay out of the text: counts this small can point at people.
    """
    short = [_few(name) for name, count in (("positives", n_positive), ("negatives", n_negative)) if count < MIN_COUNT]
    return " and ".join(short)


def _few(name: str) -> str:
    return f"fewer than {MIN_COUNT} {name}"


def suppress_small(count: int) -> str:
    """``count`` as shown to readers: counts below 10, which can point at people, are not shown.

    Example:
        >>> suppress_small(12), suppress_small(9)
        ('12', 'fewer than 10')
    """
    return str(count) if count >= MIN_COUNT else f"fewer than {MIN_COUNT}"
