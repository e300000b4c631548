"""How common a finding is in a group of patients, with an interval that knows whose images are whose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.config import FINDINGS
from dpcxr_core.evaluation.groups import MIN_COUNT, age_band

NOT_RECORDED = "not recorded"
_NORMAL_QUANTILE = 1.959963984540054  # of 0.975
_UNKNOWN = (math.nan, math.nan, math.nan)


def groups_with_unknown(cohort: pd.DataFrame) -> dict[str, NDArray[np.object_]]:
    """Each image's group by "all", "view", "sex" and "age_band"; "not recorded" where it has none.

    Age bands are those of ``config.AGE_BAND_EDGES``, whatever an ``EvaluationChoice`` takes: a cohort is described
    before anything is evaluated.
    """
    columns = {
        "all": np.full(len(cohort), "all", dtype=object),
        "view": cohort["view"].to_numpy(dtype=object),
        "sex": cohort["sex"].to_numpy(dtype=object),
        "age_band": age_band(cohort["age_years"]),
    }
    return {name: np.where(pd.isna(values), NOT_RECORDED, values) for name, values in columns.items()}


def clustered_share(y_true: ArrayLike, patient_ids: ArrayLike) -> tuple[float, float, float]:
    """Share of positives with its 95% interval, when whole patients were drawn: ``(value, low, high)``.

    The variance is that of a ratio of sums over patients. It gives the number of independent images that would vary
    as much; Wilson's interval takes that number. So the ends stay within 0 and 1, and writing every image twice
    changes nothing, unless images of one patient agree less often than images of different patients do: then each
    counts as one image and never as more.

    Args:
        y_true: ``(n_images,)`` of 0 and 1, at least one.
        patient_ids: ``(n_images,)``.

    Source:
        Cochran (1977), "Sampling Techniques", chapter 3, on proportions in clusters; Dean and Pagano (2015),
        "Evaluating confidence interval methods for binomial proportions in clustered surveys", Journal of Survey
        Statistics and Methodology 3(4).
    """
    labels = np.asarray(y_true, dtype=float)
    codes, patients = pd.factorize(np.asarray(patient_ids, dtype=object))
    share = labels.mean()
    by_patient = np.bincount(codes, labels - share, minlength=len(patients))
    variance = np.sum(by_patient**2) / len(labels) ** 2
    within = share * (1 - share)
    # Without any spread between patients there is no variance to go by; a patient then counts as one image.
    n_effective = min(within / variance, len(labels)) if variance > 0 else len(patients)
    return (float(share), *_wilson(share, n_effective))


def clustered_difference(first: ArrayLike, second: ArrayLike, patient_ids: ArrayLike) -> tuple[float, float, float]:
    """Share of positives in ``first`` minus that in ``second``, with a 95% interval: ``(value, low, high)``.

    A patient may have images on both sides; what they share then cancels.

    Args:
        first: ``(n_images,)`` of 0 and 1, NaN for images of the other side or without a label.
        second: The same of the other side.
        patient_ids: ``(n_images,)``.
    """
    codes, patients = pd.factorize(np.asarray(patient_ids, dtype=object))
    shares, influence = [], np.zeros(len(patients))
    for sign, side in ((1, first), (-1, second)):
        labels = np.asarray(side, dtype=float)
        known = ~np.isnan(labels)
        shares.append(labels[known].mean())
        influence += sign * np.bincount(codes[known], labels[known] - shares[-1], len(patients)) / known.sum()
    value = float(shares[0] - shares[1])
    half = _NORMAL_QUANTILE * math.sqrt(np.sum(influence**2))
    return value, value - half, value + half


def prevalence_by_group(cohort: pd.DataFrame) -> pd.DataFrame:
    """Prevalence of every finding among all labelled images, and by view, recorded sex and age band.

    A value that rests on fewer than ten patients, or on fewer than ten, but not none, with or without the finding, is
    NaN and ``reason`` says why.

    Args:
        cohort: COHORT rows.

    Returns:
        Columns ``finding group_column group_value n n_positive patients patients_with patients_without value low high
        reason``; ``n`` labelled images; a patient with images of both kinds is with and without. A group of which no
        image is labelled has a row of zeros.
    """
    return _rows(cohort, groups_with_unknown(cohort))


def overall_prevalence(cohort: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``prevalence_by_group`` about all images."""
    return _rows(cohort, {"all": groups_with_unknown(cohort)["all"]})


def differences_where_missing(cohort: pd.DataFrame) -> pd.DataFrame:
    """Prevalence where view, sex or age is missing minus prevalence where it is recorded, by finding.

    Were they missing at random, the two would differ by chance alone.

    Returns:
        Columns ``column finding recorded missing value low high reason``; the first three numbers are prevalences,
        ``value`` their difference. One row a finding and column of which at least one image, but not all, lacks it.
    """
    rows = []
    cohort = _with_patients_numbered(cohort)
    for column, absent in _partly_missing(cohort):
        for finding in FINDINGS:
            labels = cohort[finding].to_numpy(dtype=float)
            sides = {"missing": cohort[absent], "recorded": cohort[~absent]}
            found = {name: _row(side, finding) for name, side in sides.items()}
            reason = "; ".join(f"{name}: {each['reason']}" for name, each in found.items() if each["reason"])
            difference = _UNKNOWN
            if not reason:
                difference = clustered_difference(
                    np.where(absent, labels, np.nan), np.where(absent, np.nan, labels), cohort["patient_id"]
                )
            rows.append(
                {
                    "column": column,
                    "finding": finding,
                    **{name: each["value"] for name, each in found.items()},
                    **dict(zip(("value", "low", "high"), difference, strict=True)),
                    "reason": reason,
                }
            )
    names = ["column", "finding", "missing", "recorded", "value", "low", "high", "reason"]
    return pd.DataFrame(rows, columns=names)


def _partly_missing(cohort: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for column in ("view", "sex", "age_years"):
        absent = cohort[column].isna().to_numpy()
        if absent.any() and not absent.all():
            yield column, absent


def _rows(cohort: pd.DataFrame, columns: Mapping[str, NDArray[np.object_]]) -> pd.DataFrame:
    rows = []
    cohort = _with_patients_numbered(cohort)
    for column, groups in columns.items():
        for group in pd.unique(groups):
            images = cohort[groups == group]
            named = {"group_column": column, "group_value": group}
            rows += [_row(images, finding) | named for finding in FINDINGS]
    return pd.DataFrame(rows).sort_values("finding", key=_place_of_finding, kind="stable", ignore_index=True)


def _place_of_finding(findings: pd.Series) -> pd.Series:
    return findings.map(FINDINGS.index)


def _with_patients_numbered(cohort: pd.DataFrame) -> pd.DataFrame:
    """Numbers are told apart many times faster than texts."""
    needed = cohort[["view", "sex", "age_years", *FINDINGS]]
    return needed.assign(patient_id=pd.factorize(cohort["patient_id"])[0])


def _row(images: pd.DataFrame, finding: str) -> dict[str, Any]:
    labelled = images.loc[images[finding].notna(), [finding, "patient_id"]]
    y_true, patient_ids = labelled[finding].to_numpy(dtype=float), labelled["patient_id"].to_numpy()
    patients = _n_patients(patient_ids)
    with_it, without_it = (_n_patients(patient_ids[y_true == label]) for label in (1, 0))
    reason = _too_few_patients(patients, with_it, without_it)
    value, low, high = clustered_share(y_true, patient_ids) if not reason else _UNKNOWN
    return {
        "finding": finding,
        "n": len(labelled),
        "n_positive": int(np.sum(y_true == 1)),
        "patients": patients,
        "patients_with": with_it,
        "patients_without": without_it,
        "value": value,
        "low": low,
        "high": high,
        "reason": reason,
    }


def _n_patients(patient_ids: NDArray) -> int:
    return len(pd.unique(patient_ids))


def _too_few_patients(n: int, with_finding: int, without: int) -> str:
    """Why a prevalence is not given, or ""; a share of exactly none or all of many patients points at nobody."""
    if n == 0:
        return "no labels"
    if n < MIN_COUNT:
        return f"fewer than {MIN_COUNT} patients"
    short = [name for name, count in (("with", with_finding), ("without", without)) if 0 < count < MIN_COUNT]
    return f"fewer than {MIN_COUNT} patients {' and '.join(short)} it" if short else ""


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Ends of Wilson's score interval at 95% for ``n`` independent draws; ``n`` need not be whole."""
    z2 = _NORMAL_QUANTILE**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _NORMAL_QUANTILE / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
