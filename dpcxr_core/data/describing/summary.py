"""What became of the images of a study: how many were listed and read, and in which split they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dpcxr_core.config import SPLITS
from dpcxr_core.data.store import ImageStore, has_patient_ids, read_description


def reading_table(stores: Mapping[str, ImageStore]) -> pd.DataFrame:
    """Images of each data set that its tables list, that are in the store, and whose picture was refused.

    A store that is part of another refused nothing itself: the store it was taken from, which lies beside it, has the
    row, once for all its parts.

    Raises:
        UserError: The store that a part was taken from is no longer there.
    """
    read = dict(_as_read(name, store) for name, store in stores.items())
    rows = {
        name: {
            "listed": description["n_listed"],
            "in the store": description["n_images"],
            "refused": description["n_refused"],
        }
        for name, description in read.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("data set")


def _as_read(name: str, store: ImageStore) -> tuple[str, Mapping[str, Any]]:
    """The name and the description of the store that pictures were read into."""
    whole = store.description["choices"].get("taken_from")
    return (whole, read_description(store.path.parent / whole)) if whole else (name, store.description)


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
