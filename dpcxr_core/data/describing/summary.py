"""What became of the images of a study: how many were listed and read, and in which split they are."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dpcxr_core.config import SPLITS
from dpcxr_core.data.store import ImageStore


def reading_table(stores: Mapping[str, ImageStore]) -> pd.DataFrame:
    """Images of each data set that its tables list, that are in the store, and whose picture was refused."""
    rows = {
        name: {
            "listed": store.description["n_listed"],
            "in the store": store.description["n_images"],
            "refused": store.description["n_refused"],
        }
        for name, store in stores.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("data set")


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
