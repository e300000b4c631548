"""What became of the images of a study: how many were listed and read, and in which split they are."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dpcxr_core.config import SPLITS
from dpcxr_core.data.store import ImageStore, has_patient_ids


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


def split_table(stores: Mapping[str, ImageStore]) -> pd.DataFrame:
    """Images and patients of each split: one row a data set, columns (split, "images" or "patients").

    Patients are admissions where the store's patient ids are "admissions", and missing where they are "none".
    """
    rows = {}
    for name, store in stores.items():
        known = has_patient_ids(store)
        rows[name] = {
            (split, what): number
            for split in SPLITS
            for part in [store.cohort[store.cohort["split"] == split]]
            for what, number in (
                ("images", len(part)),
                ("patients", part["patient_id"].nunique() if known else float("nan")),
            )
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("data set")
