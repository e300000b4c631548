"""Runs that differ in nothing but their seed, brought together."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dpcxr_core.config import UserError

OTHER_SEED = ", other seed: "  # between reasons that differ
METRIC_KEY = ("dataset", "finding", "metric", "group_column", "group_value")


def over_seeds(metrics: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean of each metric over training seeds, with the spread between seeds apart from sampling error.

    Two uncertainties that are easily mixed stay in columns of their own. ``seed_min`` and ``seed_max``
    show what another training would give on the same test patients. ``low`` and ``high`` show what other
    test patients would give: the lowest ``low`` and the highest ``high`` of the seeds' own intervals. All
    seeds share their test patients, so averaging seeds does not narrow that; the envelope holds every
    seed's interval, and is wider than a 95% interval of the mean.

    Args:
        metrics: Metrics table joined with its runs: the METRICS columns, ``seed`` and the columns of ``by``.
        by: What tells the runs apart besides their seed, such as ``["init_name", "target_epsilon"]``.
            Missing values are a group of their own. The columns that name a metric are added.

    Returns:
        One row per combination that occurs: ``by``, the columns that name a metric, ``n_seeds``, ``value``
        (mean), ``seed_min``, ``seed_max``, ``low``, ``high``, ``noise_floor`` (mean), ``n``, ``n_positive`` (the
        fewest of the seeds) and ``reason`` (those of the seeds). Where any seed's value is NaN, so are
        the mean and all its ends.

    Raises:
        UserError: A column is missing, or a seed occurs twice in one row to be (``by`` lacks a column).
    """
    keys = list(dict.fromkeys([*by, *METRIC_KEY]))
    needed = [*keys, "seed", "value", "low", "high", "noise_floor", "n", "n_positive", "reason"]
    missing = [column for column in needed if column not in metrics.columns]
    if missing:
        raise UserError(f"the metrics joined with their runs lack the columns {missing}. Join the runs first.")
    twice = metrics[metrics.duplicated([*keys, "seed"])]
    if len(twice):
        first = twice.iloc[0][[*keys, "seed"]].to_dict()
        raise UserError(f"one seed occurs twice for {first}. Add to by the column in which those runs differ.")
    rows = metrics.groupby(keys, dropna=False, sort=False)
    table = rows.agg(
        n_seeds=("seed", "size"),
        n_defined=("value", "count"),
        value=("value", "mean"),
        seed_min=("value", "min"),
        seed_max=("value", "max"),
        low=("low", "min"),
        high=("high", "max"),
        n_intervals=("low", "count"),
        noise_floor=("noise_floor", "mean"),
        n=("n", "min"),
        n_positive=("n_positive", "min"),
        reason=("reason", "first"),
    ).reset_index()
    number = rows.ngroup()  # the row of ``table``
    differing = number.isin(number[metrics["reason"] != rows["reason"].transform("first")])
    joined = metrics.loc[differing, "reason"].groupby(number[differing]).agg(_of_any_seed)
    table.loc[joined.index, "reason"] = joined
    undefined = table["n_defined"] < table["n_seeds"]
    table.loc[undefined, ["value", "seed_min", "seed_max", "low", "high", "noise_floor"]] = float("nan")
    table.loc[table["n_intervals"] < table["n_seeds"], ["low", "high"]] = float("nan")
    some = undefined & (table["n_defined"] > 0)
    table.loc[some, "reason"] = "undefined for some seeds"
    return table.drop(columns=["n_defined", "n_intervals"])


def _of_any_seed(reasons: pd.Series) -> str:
    """Each reason once; a worst group, which is one, may be another for another seed."""
    return OTHER_SEED.join(dict.fromkeys(reason for reason in reasons if reason))
