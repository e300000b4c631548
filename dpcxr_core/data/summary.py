"""What is in the cohorts: populations, prevalence, splits, and pictures to look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dpcxr_core.config import FINDINGS, SPLITS
from dpcxr_core.data.store import ImageStore


def population(cohorts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a data set: images, patients, views, sex and age, and how often these are missing."""
    rows = {}
    for name, cohort in cohorts.items():
        known_view, known_sex = cohort["view"].dropna(), cohort["sex"].dropna()
        rows[name] = {
            "images": len(cohort),
            "patients": cohort["patient_id"].nunique(),
            "AP view": (known_view == "AP").mean() if len(known_view) else np.nan,
            "female": (known_sex == "F").mean() if len(known_sex) else np.nan,
            "sex missing": cohort["sex"].isna().mean(),
            "median age": cohort["age_years"].median(),
            "age missing": cohort["age_years"].isna().mean(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("data set")


def population_formats() -> dict[str, str]:
    """Display formats of the columns of ``population``."""
    shares = dict.fromkeys(("AP view", "female", "sex missing", "age missing"), "{:.0%}")
    return {**shares, "images": "{:,.0f}", "patients": "{:,.0f}", "median age": "{:.0f}"}


def prevalence(cohorts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Share of positives among labelled images: one row a data set, one column a finding; NaN without labels."""
    rows = {name: cohort[list(FINDINGS)].mean() for name, cohort in cohorts.items()}
    return pd.DataFrame(rows).T.rename_axis("data set")


def split_table(cohorts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Images and patients of each split: one row a data set, columns (split, "images" or "patients")."""
    rows = {}
    for name, cohort in cohorts.items():
        rows[name] = {
            (split, what): part["patient_id"].nunique() if what == "patients" else len(part)
            for split in SPLITS
            for part in [cohort[cohort["split"] == split]]
            for what in ("images", "patients")
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("data set")


def leak_of_image_split(cohort: pd.DataFrame, *, seed: int, test_fraction: float = 0.2) -> float:
    """Share of test images whose patient would also be in training, had images been split at random."""
    in_test = np.random.default_rng(seed).random(len(cohort)) < test_fraction
    trained_on = set(cohort.loc[~in_test, "patient_id"])
    return float(cohort.loc[in_test, "patient_id"].isin(trained_on).mean())


def gallery_by_dataset(stores: Mapping[str, ImageStore], *, n_each: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Images drawn at random, ``n_each`` of every store, and a title for the first of each.

    Returns:
        ``(n_stores * n_each, size, size)`` uint8 and as many titles.
    """
    rng = np.random.default_rng(seed)
    images, titles = [], []
    for name, store in stores.items():
        rows = np.sort(rng.choice(len(store.images), size=min(n_each, len(store.images)), replace=False))
        images += [store.images[rows]]
        titles += [name, *[""] * (len(rows) - 1)]
    return np.concatenate(images), titles


def gallery_by_finding(store: ImageStore, *, n_each: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Images row by row, one column a finding; the first row is titled.

    A finding with fewer than ``n_each`` positive images repeats some; one without any stays dark.

    Returns:
        ``(n_each * 5, size, size)`` uint8 and as many titles.
    """
    rng = np.random.default_rng(seed)
    columns = []
    for finding in FINDINGS:
        positive = np.flatnonzero(store.cohort[finding] == 1)
        if len(positive) == 0:
            columns.append(np.zeros((n_each, *store.images.shape[1:]), np.uint8))
            continue
        few = len(positive) < n_each
        columns.append(store.images[np.sort(rng.choice(positive, size=n_each, replace=few))])
    by_row = np.stack(columns, axis=1).reshape(-1, *store.images.shape[1:])
    titles = [finding.replace("_", " ") for finding in FINDINGS]
    return by_row, titles + [""] * (len(by_row) - len(titles))
