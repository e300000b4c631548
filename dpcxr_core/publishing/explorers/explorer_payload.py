"""Everything that the explorer shows, computed beforehand and packed into JSON values."""

from __future__ import annotations

import base64
import json
import math
import zlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.small_counts import showable_metrics
from dpcxr_core.publishing.explorers.explorer_axes import Axes, axes_of
from dpcxr_core.publishing.explorers.explorer_counts import GROUP, shown_group_counts
from dpcxr_core.publishing.palette import init_colours
from dpcxr_core.publishing.results import CONDITION, checked_runs, epsilon_label, epsilons_of
from dpcxr_core.tables import METRICS, checked

MAX_BYTES = 900_000  # with the script, the explorer stays under 1 MB
NOT_MEASURED = "not measured"
SOME_UNDEFINED = "undefined for some seeds"
FAR_OUT = "it or its interval reaches beyond ±16"
_NONE = -32768  # in packed integers: there is no number
_LESS_COMPARED = ("auprc", "npv", "f1")  # between groups: they move with prevalence, and no gap is made of them
_MOST = 16  # so that a distance between two such numbers fits into a packed integer too


def explorer_payload(metrics: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    """What the explorer looks up, as JSON values: aggregates only, as ``showable_metrics`` lets them be seen.

    Seeds of one condition are brought together as ``over_seeds`` does: the mean, the seeds as points, and an interval
    that spans those of all seeds. Counts of groups are shown as ``shown_group_counts`` says.

    Promise:
        Numbers are exact to a thousandth. Undefined is told by its reason, and so is what lies beyond 16 on either
        side, such as the calibration slope of scores that hardly differ. Where all of it would be more than
        ``MAX_BYTES``, the groups of sex and age crossed are left out; where that is not enough, also AUPRC, NPV and F1
        of the other groups; or else all findings but their mean.

    Args:
        metrics: METRICS table of all runs.
        runs: Runs table, see ``study.run_table.runs_table``.

    Returns:
        ``tests``, ``findings``, ``metrics``, ``columns``, ``levels``, ``initialisations`` (each a list of entries with
        ``key`` and ``label``), ``slots`` (metric, group column, value and label), ``conditions`` (runs that differ in
        their seed alone), ``counts`` (images and positives by test set, finding and group), ``reasons``,
        ``left_out`` (what did not fit); and packed, as ``pack`` does, ``estimates`` (value, distance to the interval's
        ends, noise floor, reason; by test set, finding, slot and condition) and ``seeds`` (by test set, finding,
        metric, condition and seed, ``n_seeds`` of them).

    Raises:
        UserError: A column is missing, a metric's run is not among ``runs``, two runs share a condition and a seed,
            there is no metric of a run trained on private images, or even the least does not fit into ``MAX_BYTES``.
    """
    runs, whole = checked_runs(metrics, runs), checked(metrics, METRICS).reset_index(drop=True)
    table = showable_metrics(whole)  # before any row is left out: what is withheld hangs on all groups, as do counts
    without_crossed = table[table["group_column"] != "sex_and_age"]
    less = without_crossed["metric"].isin(_LESS_COMPARED) & (without_crossed["group_column"] != "all")
    crossed = "groups by sex and age together"
    reduced = {
        "": table,
        crossed: without_crossed,
        f"{crossed}, and AUPRC, NPV and F1 of other groups": without_crossed[~less],
        f"{crossed}, and every finding but the macro mean": without_crossed[without_crossed["finding"] == MACRO],
    }
    counts = shown_group_counts(whole[whole["finding"] != MACRO])
    for left_out, rows in reduced.items():
        payload = {**_payload(rows, counts, runs), "left_out": left_out}
        if len(json.dumps(payload)) <= MAX_BYTES:
            return payload
    raise UserError(
        f"the explorer of {len(runs)} runs needs more than {MAX_BYTES:,} bytes, even of the macro mean alone. Give it "
        "fewer runs, test sets or group columns."
    )


def pack(values: NDArray) -> str:
    """Integers as text: all low bytes, then all high bytes, deflated, in base64; explorer_data.js reads them."""
    parts = np.ascontiguousarray(values, dtype="<i2").reshape(-1, 1).view(np.uint8)
    return base64.b64encode(zlib.compress(parts.T.tobytes(), 9)).decode("ascii")


def _payload(table: pd.DataFrame, counts: dict[str, list[int | None]], runs: pd.DataFrame) -> dict[str, Any]:
    """The payload of ``table``, rows that may be shown, and of ``counts`` those of its groups."""
    runs = runs[runs["run_id"].isin(table["run_id"].unique())].reset_index(drop=True)
    trained = runs[runs["kind"] != "public_only"]
    axes = axes_of(table, first_finding=MACRO)
    if trained.empty or not axes.slots:
        raise UserError("there is no metric of a private or non-private run to explore.")
    labels = list(dict.fromkeys(trained["init_label"]))
    colours = init_colours(labels)
    members = _conditions(runs, labels)
    groups = set(table[GROUP].agg("|".join, axis=1))
    reasons, estimates, seeds = _numbers(table, runs, axes, [rows.index.to_numpy() for rows in members])
    return {
        "tests": [{"key": name, "label": name} for name in axes.tests],
        "findings": [{"key": name, "label": name.replace("_", " ")} for name in axes.findings],
        "metrics": axes.metrics,
        "columns": axes.columns,
        "slots": axes.slots,
        "levels": [_level(epsilon) for epsilon in epsilons_of(trained)],
        "initialisations": [{"key": label, "label": label, "colour": colours[label]} for label in labels],
        "conditions": [_condition(rows) for rows in members],
        "counts": {group: shown for group, shown in counts.items() if group in groups},
        "reasons": reasons,
        "estimates": pack(estimates),
        "seeds": pack(seeds),
        "n_seeds": seeds.shape[-1],
    }


def _conditions(runs: pd.DataFrame, labels: list[str]) -> list[pd.DataFrame]:
    """Runs that differ in their seed alone, by initialisation and rising epsilon; no privacy last."""
    groups = [rows for _, rows in runs.groupby(CONDITION, dropna=False, sort=False)]
    place = {label: index for index, label in enumerate(labels)}

    def order(rows: pd.DataFrame) -> tuple[int, float]:
        first = rows.iloc[0]
        epsilon = first["target_epsilon"]
        return place.get(first["init_label"], len(labels)), math.inf if math.isnan(epsilon) else epsilon

    return sorted(groups, key=order)


def _condition(rows: pd.DataFrame) -> dict[str, Any]:
    first, spent = rows.iloc[0], rows["epsilon_spent"].max()
    private = first["kind"] == "private"
    return {
        "train": first["train_dataset"],
        "architecture": first["architecture"],
        "init": first["init_label"],
        "unit": first["privacy_unit"] if private else None,
        "level": _level(first["target_epsilon"])["key"],
        "kind": first["kind"],
        "spent": None if math.isnan(spent) else round(float(spent), 4),
    }


def _level(epsilon: float) -> dict[str, str]:
    if math.isnan(epsilon):
        return {"key": "none", "label": "no privacy", "words": "no privacy"}
    label = epsilon_label(epsilon)
    return {"key": label, "label": label, "words": f"epsilon of at most {label}"}


def _numbers(
    table: pd.DataFrame, runs: pd.DataFrame, axes: Axes, members: list[NDArray]
) -> tuple[list[str], NDArray[np.int16], NDArray[np.int16]]:
    """Reasons, estimates and seeds, with the axes that ``explorer_payload`` names."""
    slots = axes.slots_of(table)
    table, slots = table[slots >= 0], slots[slots >= 0]
    places = (
        pd.Index(runs["run_id"]).get_indexer(pd.Index(table["run_id"])),
        pd.Index(axes.tests).get_indexer(pd.Index(table["dataset"])),
        pd.Index(axes.findings).get_indexer(pd.Index(table["finding"])),
        slots,
    )
    shape = (len(runs), len(axes.tests), len(axes.findings), len(axes.slots))

    def filled(values: Any, missing: float = math.nan) -> NDArray[np.float64]:
        cells = np.full(shape, missing)
        cells[places] = values
        return cells

    reasons = [NOT_MEASURED, SOME_UNDEFINED, FAR_OUT, *table["reason"].unique()]
    codes = filled(pd.Index(reasons).get_indexer(pd.Index(table["reason"])), missing=0).astype(int)
    value, low, high = (filled(table[name]) for name in ("value", "low", "high"))
    floor = filled(table["noise_floor"])
    stacked = np.stack([_brought_together(value[m], low[m], high[m], floor[m], codes[m]) for m in members], axis=-1)
    n_seeds = max(map(len, members))
    seeds = np.full((*shape[1:3], len(axes.metrics), len(members), n_seeds), _NONE, dtype=np.int16)
    for c, runs_of_condition in enumerate(members):
        of_all = value[runs_of_condition][..., axes.slots_of_all]
        seeds[:, :, :, c, : len(runs_of_condition)] = np.moveaxis(_per_mille(of_all), 0, -1)
    return reasons, stacked, seeds


def _brought_together(value: NDArray, low: NDArray, high: NDArray, floor: NDArray, codes: NDArray) -> NDArray[np.int16]:
    """One condition: mean, envelope of intervals as distances, mean floor, reason; first axis of arguments: seeds."""
    far_out = (np.abs([value, low, high]) > _MOST).any(axis=(0, 1))
    defined = ~np.isnan(value)
    mean = np.where(far_out, _NONE, _per_mille(value.mean(axis=0)))
    ends = [_per_mille(low.min(axis=0)), _per_mille(high.max(axis=0))]
    has_interval = (mean != _NONE) & (ends[0] != _NONE) & (ends[1] != _NONE)
    below, above = (np.where(has_interval, sign * (mean - end), _NONE) for sign, end in zip((1, -1), ends, strict=True))
    code = np.where(defined.any(axis=0) & ~defined.all(axis=0), 1, np.where(far_out, 2, codes[0]))
    return np.stack([mean, below, above, _per_mille(floor.mean(axis=0)), code]).astype(np.int16)


def _per_mille(values: NDArray) -> NDArray[np.int64]:
    shown = np.abs(values) <= _MOST
    return np.where(shown, np.round(1000 * np.where(shown, values, 0)), _NONE).astype(np.int64)
