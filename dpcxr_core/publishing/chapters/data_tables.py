"""What is in the data sets, as tables and sentences; nothing that fewer than ten patients stand behind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.describing.images_per_patient import (
    effective_patients,
    number_that_patients_reach,
    patients_by_number,
)
from dpcxr_core.data.describing.leak import WHOLE
from dpcxr_core.data.describing.origins import pictures_may_be_shown
from dpcxr_core.data.store import ImageStore, has_patient_ids
from dpcxr_core.evaluation.comparing.paired import LEVEL
from dpcxr_core.evaluation.describing.group_counts import group_counts, missing_counts
from dpcxr_core.evaluation.describing.prevalence import (
    NOT_RECORDED,
    differences_where_missing,
    overall_prevalence,
    prevalence_by_group,
)
from dpcxr_core.evaluation.groups import MIN_COUNT, SEXES, age_band_names
from dpcxr_core.publishing.disclosing.small_cells import (
    WITHHELD,
    hidden_cells,
    hidden_with_others,
    shown_count,
    shown_counts,
    shown_images,
)
from dpcxr_core.publishing.tables import with_interval

GROUPS = {
    "view": ("PA", "AP", NOT_RECORDED),
    "sex": (*SEXES, NOT_RECORDED),
    "age_band": (*age_band_names(), NOT_RECORDED),
}
_NO_PATIENTS = "no patient identifiers"


def show_sets(stores: Mapping[str, ImageStore], facts: Mapping[str, dict[str, Any] | None]) -> pd.DataFrame:
    """One row a data set: what it is, images, patients, median age, licence."""
    rows = {}
    for name, store in stores.items():
        ages = store.cohort.dropna(subset=["age_years"])
        stated = facts[name] or {}
        rows[name] = {
            "what it is": stated.get("title", "no manifest found"),
            "images": f"{len(store.cohort):,}",
            "patients": _patients(store),
            "median age": f"{ages['age_years'].median():.0f}" if _enough(ages) else "unknown",
            "licence": stated.get("licence", "not stated"),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("data set")


def show_reading(read: pd.DataFrame) -> pd.DataFrame:
    """``reading_table`` in words; where few are refused, or are left, how many were listed would tell how many."""
    rows = {}
    for name, row in read.iterrows():
        few = any(0 < row[part] < MIN_COUNT for part in ("in the store", "refused"))
        shown = {part: shown_count(int(row[part])) for part in read.columns}
        rows[name] = {**shown, "listed": WITHHELD} if few else shown
    return pd.DataFrame.from_dict(rows, orient="index", columns=read.columns).rename_axis("data set")


def show_refusals(refused: Mapping[str, str]) -> pd.DataFrame:
    """Refused pictures by reason and all together; a reason is withheld where the others would tell of few pictures.

    Args:
        refused: Image id -> reason.
    """
    by_reason = pd.Series(refused, dtype=object).value_counts()
    shown = [*shown_counts(by_reason), shown_count(len(refused))]
    return pd.DataFrame({"pictures": shown}, index=pd.Index([*by_reason.index, "all together"], name="refused"))


def show_counted(counts: Mapping[str, int]) -> pd.DataFrame:
    """What was set missing or left out while a hospital's tables were read; not what ``show_refusals`` withholds.

    Pictures that are not found are refused; the rows, with the images in the store, would tell how few were refused.
    """
    names = [name for name in counts if name not in ("rows_in_table", "pictures_not_found")]
    shown = {
        name.replace("_", " "): shown_count(counts[name])
        for name in names
        if counts[name] and not name.endswith("_is_not_recorded")  # of every row
    }
    return pd.DataFrame({"number": shown})


def show_splits(parted: pd.DataFrame) -> pd.DataFrame:
    """``split_table`` in words; patients are "not known" where each image counts as one."""
    rows = {}
    for name, row in parted.iterrows():
        images, patients = (row.xs(what, level=1) for what in ("images", "patients"))
        known = bool(patients.notna().all())
        counted = (patients if known else images).astype(int)
        rows[name] = pd.concat(
            {
                "images": pd.Series(shown_images(images.astype(int), counted), index=images.index),
                "patients": pd.Series(shown_counts(counted) if known else "not known", index=images.index),
            }
        ).swaplevel()
    return pd.DataFrame(rows).T.reindex(columns=parted.columns).rename_axis("data set")


def patients_in_words(stores: Mapping[str, ImageStore]) -> str:
    """Where a check of patients checks something, and where people may be on both sides all the same."""
    unknown = [f"*{name}*" for name, store in stores.items() if not has_patient_ids(store)]
    admitted = [f"*{name}*" for name, store in stores.items() if store.description["patient_ids"] == "admissions"]
    sentences = []
    if unknown:
        sentences.append(
            f"In {', '.join(unknown)}, nothing says which images are of one patient: each counts as a patient of its "
            "own, and the check below finds nobody. A person with several images may be in training and in test, and "
            "in the public and in the private part; test results may be too good for it, and privacy is that of an "
            "image, not of a person."
        )
    if admitted:
        sentences.append(
            f"In {', '.join(admitted)}, a patient is an admission: a person admitted twice may be on both sides."
        )
    return " ".join(sentences) or "All of these data sets say which images are of one patient."


def show_groups(stores: Mapping[str, ImageStore]) -> pd.DataFrame:
    """Images by view, sex and age band: one row a data set, columns (what, group)."""
    rows = {}
    for name, store in stores.items():
        counts = group_counts(store.cohort).set_index(["group_column", "group_value"])
        cells: dict[tuple[str, str], str] = {}
        for column, groups in GROUPS.items():
            keys = [(column, group) for group in groups]
            here = counts.reindex(pd.MultiIndex.from_tuples(keys), fill_value=0)
            shown = shown_images(here["images"], here["patients"])
            cells |= {(column.replace("_", " "), group): text for (_, group), text in zip(keys, shown, strict=True)}
        rows[name] = cells
    return pd.DataFrame(rows).T.rename_axis("data set")


def show_prevalence(stores: Mapping[str, ImageStore]) -> pd.DataFrame:
    """Prevalence of each finding with its interval: one row a data set, one column a finding."""
    rows = {name: _of_all(store.cohort) for name, store in stores.items()}
    return pd.DataFrame(rows).T.rename_axis("data set")


def groups_to_show(cohort: pd.DataFrame) -> pd.DataFrame:
    """``prevalence_by_group``; with a group that is hidden, others are, until no subtraction tells of few patients.

    All groups together are known, so that those hidden are what is left over: together they have ten patients or more
    with the finding, and ten or more without it, or none, as far as there are any.
    """
    rows = prevalence_by_group(cohort)
    order = {("all", "all"): 0} | {
        (column, group): place
        for place, (column, group) in enumerate(((c, g) for c, groups in GROUPS.items() for g in groups), start=1)
    }
    for _, part in rows.groupby(["finding", "group_column"]):
        few = (part["reason"] != "").to_numpy()
        hidden = hidden_with_others(hidden_with_others(few, part["patients_with"]), part["patients_without"])
        others = part.index[hidden & ~few]
        rows.loc[others, ["value", "low", "high"]] = math.nan
        rows.loc[others, "reason"] = f"withheld, as the difference would tell of fewer than {MIN_COUNT} patients"
    places = [order[key] for key in zip(rows["group_column"], rows["group_value"], strict=True)]
    return rows.assign(place=places).sort_values("place", kind="stable").drop(columns="place").reset_index(drop=True)


def show_missing(stores: Mapping[str, ImageStore]) -> pd.DataFrame:
    """Share of the images without a view, sex, age or label: one row a data set."""
    rows = {}
    for name, store in stores.items():
        by_column = missing_counts(store.cohort).groupby("group_column", sort=False)
        rows[name] = {column: _share_missing(part) for column, part in by_column}
    return pd.DataFrame(rows).T.rename_axis("data set")


def _share_missing(counts: pd.DataFrame) -> str:
    """In words, from the rows "recorded" and "not recorded", either of which may be absent."""
    absent = counts["group_value"] == NOT_RECORDED
    if not absent.any():
        return "none"
    few = counts["patients"] < MIN_COUNT
    if few.any():
        return f"fewer than {MIN_COUNT} patients" if few[absent].any() else f"all but fewer than {MIN_COUNT} patients"
    return f"{counts.loc[absent, 'images'].sum() / counts['images'].sum():.1%}"


def label_mix(stores: Mapping[str, ImageStore]) -> pd.DataFrame:
    """``differences_where_missing`` of every data set, in a further column ``dataset``."""
    parts = [differences_where_missing(store.cohort).assign(dataset=name) for name, store in stores.items()]
    return pd.concat(parts, ignore_index=True)


def show_label_mix(mix: pd.DataFrame) -> pd.DataFrame:
    """Prevalence where something is missing minus where it is recorded: a row a data set and what is missing."""
    shown = mix.assign(
        cell=[_points(row) for row in mix.to_dict("records")],
        column=mix["column"].replace({"age_years": "age"}),
    )
    wide = shown.pivot(index=["dataset", "column"], columns="finding", values="cell").reindex(columns=list(FINDINGS))
    wide.columns = pd.Index([finding.replace("_", " ") for finding in FINDINGS])
    order = pd.MultiIndex.from_frame(shown[["dataset", "column"]].drop_duplicates())
    return wide.reindex(order).rename_axis(["data set", "missing"])


def label_mix_in_words(mix: pd.DataFrame) -> str:
    """How many of the differences have an interval that misses zero, and what chance alone would give."""
    known = mix.dropna(subset=["value"])
    if known.empty:
        return "Nothing is missing in enough patients to compare."
    apart = known[(known["low"] > 0) | (known["high"] < 0)]
    sentence = (
        f"{len(apart)} of {len(known)} intervals miss zero; were everything missing at random, about "
        f"{LEVEL * len(known):.0f} would."
    )
    if apart.empty:
        return sentence
    most = apart.iloc[int(apart["value"].abs().argmax())]
    finding, column = most["finding"].replace("_", " "), most["column"].removesuffix("_years")
    return sentence + (
        f" The largest of these differences is {100 * most['value']:+.1f} points of *{finding}* where the {column} is "
        f"missing, in *{most['dataset']}*."
    )


def numbers_of_images(stores: Mapping[str, ImageStore]) -> dict[str, pd.DataFrame | None]:
    """``patients_by_number`` of every data set; None where patients are not known."""
    return {
        name: patients_by_number(store.cohort["patient_id"]) if has_patient_ids(store) else None
        for name, store in stores.items()
    }


def show_patients(stores: Mapping[str, ImageStore], leaks: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How many images patients have, what the set is worth for it, and what a split by image would leak."""
    rows = {}
    for name, store in stores.items():
        ids = store.cohort["patient_id"]
        n_patients = ids.nunique()
        rows[name] = {
            "images": f"{len(ids):,}",
            "patients": shown_count(n_patients) if has_patient_ids(store) else _NO_PATIENTS,
        }
        if has_patient_ids(store) and n_patients >= MIN_COUNT:
            rows[name] |= {
                "images a patient, mean": f"{len(ids) / n_patients:.2f}",
                f"{MIN_COUNT} patients have at least": f"{number_that_patients_reach(ids, MIN_COUNT):,}",
                "effective patients": f"{effective_patients(ids):,.0f}",
                "leaked by a split of images": f"{_value(leaks[name], 'expected_share'):.0%}",
            }
    return pd.DataFrame.from_dict(rows, orient="index").fillna("unknown").rename_axis("data set")


def show_leak(report: pd.DataFrame) -> pd.DataFrame:
    """The leak report in words: one row a number of images that patients have; few patients have no row's numbers."""
    bands = report.drop(index=WHOLE)
    hidden = np.append(hidden_cells(bands["patients"]), False)
    return pd.DataFrame(
        {
            "patients": [*shown_counts(bands["patients"].astype(int)), f"{_value(report, 'patients'):,.0f}"],
            "leaked, images split": _shares(report["leaked_share"], hidden),
            "expected": _shares(report["expected_share"], hidden),
            "leaked, patients split": _shares(report["by_patient"], hidden),
        },
        index=report.index,
    )


def leak_in_words(report: pd.DataFrame) -> str:
    """What the leak report says in one sentence or two."""
    drawn, expected, by_patient = (
        f"{_value(report, column):.0%}" for column in ("leaked_share", "expected_share", "by_patient")
    )
    return (
        f"Split by image, {drawn} of {_value(report, 'test_images'):,.0f} test images would show a patient who is also "
        f"in training ({expected} are expected). Split by patient, {by_patient} do."
    )


def pictures_in_words(
    stores: Mapping[str, ImageStore], shown: Mapping[str, ImageStore], facts: Mapping[str, dict[str, Any] | None]
) -> str:
    """Whose pictures are shown, whose are not, and why: no manifest allows it, or this run was told not to."""
    kept: dict[str, list[str]] = {}
    for name in stores.keys() - shown.keys():
        allowed = pictures_may_be_shown(stores[name], facts[name])
        why = "this run was told to show none" if allowed else "no manifest says that they may be"
        kept.setdefault(why, []).append(f"*{name}*")
    if not kept:
        return "All data sets of this page may be shown."
    sentences = [f"Pictures of {', '.join(sorted(names))} are not shown: {why}." for why, names in sorted(kept.items())]
    if not set(shown) & set(stores):
        sentences.append("Simulated pictures stand in for them; they are of no patient.")
    return " ".join(sentences)


def _enough(images: pd.DataFrame) -> bool:
    return images["patient_id"].nunique() >= MIN_COUNT


def _patients(store: ImageStore) -> str:
    if not has_patient_ids(store):
        return _NO_PATIENTS
    stands_for = store.description["patient_ids"]
    return shown_count(store.cohort["patient_id"].nunique()) + (f" {stands_for}" if stands_for != "recorded" else "")


def _of_all(cohort: pd.DataFrame) -> dict[str, str]:
    rows = overall_prevalence(cohort).to_dict("records")
    return {row["finding"].replace("_", " "): _percent(row) for row in rows}


def _percent(row: Mapping[Any, Any]) -> str:
    return with_interval(row["value"], row["low"], row["high"], ".1%", if_nan=row["reason"])


def _points(row: Mapping[Any, Any]) -> str:
    value, low, high = (100 * row[name] for name in ("value", "low", "high"))
    return with_interval(value, low, high, "+.1f", if_nan=row["reason"])


def _value(report: pd.DataFrame, column: str) -> float:
    return float(report[column][WHOLE])


def _shares(shares: pd.Series, hidden: np.ndarray) -> list[str]:
    return [
        WITHHELD if hide else "no test image" if math.isnan(share) else f"{share:.0%}"
        for share, hide in zip(shares, hidden, strict=True)
    ]
