"""Which counts of images and positives may stand beside groups that part the same images in several ways."""

from __future__ import annotations

import pandas as pd

from dpcxr_core.evaluation.small_counts import hidden_counts

GROUP = ["dataset", "finding", "group_column", "group_value"]


def shown_group_counts(metrics: pd.DataFrame) -> dict[str, list[int | None]]:
    """Images and positives of each group, by "test set|finding|group column|group"; None where not shown.

    Args:
        metrics: METRICS table without macro rows, as evaluated, of which those of AUROC name the groups; all runs are
            tested on the same images.
    """
    groups = metrics[metrics["metric"] == "auroc"]
    groups = groups.drop_duplicates(GROUP)
    shown: dict[str, list[int | None]] = {}
    for (dataset, finding), rows in groups.groupby(["dataset", "finding"], sort=False):
        hidden = hidden_counts(rows)
        columns = (rows[name] for name in ("group_column", "group_value", "n", "n_positive"))
        for column, value, n, positives, *hide in zip(*columns, hidden["images"], hidden["positives"], strict=True):
            counts = zip((n, positives), hide, strict=True)
            shown[f"{dataset}|{finding}|{column}|{value}"] = [None if hides else int(count) for count, hides in counts]
    return shown
