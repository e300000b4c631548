"""Which counts of images and positives stand beside the explorer's groups."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dpcxr_core.evaluation.groups import MIN_COUNT


def shown_group_counts(metrics: pd.DataFrame) -> dict[str, list[int | None]]:
    """Images and positives of each group, by "test set|finding|group column|group"; None where not shown.

    Group columns part the same images in several ways, and one table's margin is another's cell. So where any cell of
    a test set and finding counts 1 to 9 images (of patients whose group was not recorded, too), the images of no group
    are shown; and the positives of no group, where that, or a count of 1 to 9 positives or negatives, occurs.

    Args:
        metrics: METRICS table without macro rows, of which those of AUROC name the groups; all runs are tested on the
            same images.
    """
    groups = metrics[metrics["metric"] == "auroc"]
    keys = ["dataset", "finding", "group_column", "group_value"]
    table = groups.groupby(keys, sort=False)[["n", "n_positive"]].min().reset_index()
    shown: dict[str, list[int | None]] = {}
    for (dataset, finding), rows in table.groupby(["dataset", "finding"], sort=False):
        few_images = _points_at_people(rows, rows["n"])
        few = few_images or any(
            _points_at_people(rows, count) for count in (rows["n_positive"], rows["n"] - rows["n_positive"])
        )
        for _, _, column, value, n, positives in rows.itertuples(index=False):
            whole = column == "all"
            images = int(n) if n >= MIN_COUNT and (whole or not few_images) else None
            both = min(positives, n - positives) >= MIN_COUNT and (whole or not few)
            shown[f"{dataset}|{finding}|{column}|{value}"] = [images, int(positives) if both else None]
    return shown


def _points_at_people(rows: pd.DataFrame, counts: pd.Series) -> bool:
    """Whether a cell of any group column, or what a column leaves over, is from 1 to 9."""
    whole = counts[rows["group_column"] == "all"].sum()
    in_groups = counts[rows["group_column"] != "all"]
    left_over = whole - in_groups.groupby(rows["group_column"]).sum()
    cells = np.concatenate([in_groups.to_numpy(), left_over.to_numpy()])
    return bool(((cells > 0) & (cells < MIN_COUNT)).any())
