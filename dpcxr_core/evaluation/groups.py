"""Groups of patients that are compared: all, by recorded sex, by age band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.config import AGE_BAND_EDGES, UserError

MIN_COUNT = 10


@dataclass(frozen=True)
class GroupColumn:
    """A way to part the images, and the two groups that a signed difference compares.

    Attributes:
        name: What the metrics table calls it.
        groups: Its groups, in the order they are shown.
        contrast: ``(minuend, subtrahend)`` of signed differences; None when there is nothing to compare.
        contrast_name: What the metrics table calls that difference.
    """

    name: str
    groups: tuple[str, ...]
    contrast: tuple[str, str] | None = None
    contrast_name: str = ""


def age_band_names(edges: Sequence[int] = AGE_BAND_EDGES) -> tuple[str, ...]:
    """Names of the age bands between ``edges``, youngest first; the last one is open.

    Raises:
        UserError: ``edges`` are not at least three rising whole years.

    Example:
        >>> age_band_names((0, 40, 70, 120))
        ('0-39', '40-69', '70+')
    """
    if len(edges) < 3 or any(low >= high for low, high in zip(edges[:-1], edges[1:], strict=True)):
        raise UserError(f"age band edges must be at least three rising years, such as 0 40 120; got {edges}")
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


_AGE_BANDS = age_band_names()
ALL = GroupColumn("all", ("all",))
SEX = GroupColumn("sex", ("F", "M"), ("F", "M"), "F-M")
AGE_BAND = GroupColumn("age_band", _AGE_BANDS, (_AGE_BANDS[-1], _AGE_BANDS[0]), f"{_AGE_BANDS[-1]} - {_AGE_BANDS[0]}")
GROUP_COLUMNS = (ALL, SEX, AGE_BAND)


def group_values(cohort: pd.DataFrame) -> dict[str, NDArray[np.object_]]:
    """Each image's group in every column of ``GROUP_COLUMNS``, None where it was not recorded."""
    sex = cohort["sex"].astype(object)
    return {
        "all": np.full(len(cohort), "all", dtype=object),
        "sex": sex.where(sex.notna(), None).to_numpy(dtype=object),
        "age_band": age_band(cohort["age_years"].to_numpy()),
    }


def too_few(n_positive: int, n_negative: int) -> str:
    """Why a group cannot be measured, or "" when it holds 10 positives and 10 negatives.

    Exact counts stay out of the text: counts this small can point at people.
    """
    short = [
        f"fewer than {MIN_COUNT} {name}"
        for name, count in (("positives", n_positive), ("negatives", n_negative))
        if count < MIN_COUNT
    ]
    return " and ".join(short)


def suppress_small(count: int) -> str:
    """``count`` as shown to readers: counts below 10, which can point at people, are not shown.

    Example:
        >>> suppress_small(12), suppress_small(9)
        ('12', 'fewer than 10')
    """
    return str(count) if count >= MIN_COUNT else f"fewer than {MIN_COUNT}"
