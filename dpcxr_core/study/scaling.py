"""What more training patients or another network are worth, and whether the initialisation changes that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.study.over_seeds import contrasts_with_verdicts
from dpcxr_core.study.scored_cells import Coefficients, ScoredCells

# the grids, by name in the study file, whose cells show it
DATA_GRIDS, CAPACITY_GRIDS = ("main", "scale"), ("main", "capacity")
_LEVEL = ["dataset", "unit", "target_epsilon"]
DATA_KEY = [*_LEVEL, "architecture"]
CAPACITY_KEY = [*_LEVEL, "fraction", "architecture"]


def gains_with_data(scored: ScoredCells, reference: str | None = None) -> pd.DataFrame:
    """Macro AUROC gained with each doubling of the training patients: the slope over their fractions.

    A seed's slope is that of the straight line of least squares through its runs, macro AUROC over the logarithm of
    the fraction.

    Args:
        scored: Cells of the grids "main" and "scale".
        reference: An initialisation. With it the rows are slopes of the others minus its slope, where its runs have
            the same fractions: how far the initialisation changes what data are worth.

    Returns:
        ``initialisation``, ``DATA_KEY``, ``over`` (the fractions), the columns of ``paired.table_over_seeds``, ``family
        p_adjusted n_in_family`` (Holm) and ``verdict``: "better" or "worse" than no gain, or than the reference. A cell
        with one fraction is left out, as is a seed that lacks one of those that other seeds have.
    """
    gains = slopes_by_seed(scored.with_new_head(*DATA_GRIDS))
    return _tested(scored, gains, DATA_KEY, reference, "what data are worth")


def gains_with_capacity(scored: ScoredCells, reference: str | None = None) -> pd.DataFrame:
    """Macro AUROC of each other network minus that of the main grid's first network.

    Args:
        scored: Cells of the grids "main" and "capacity".
        reference: As ``gains_with_data``.

    Returns:
        As ``gains_with_data``, with ``CAPACITY_KEY``; ``architecture`` is the other network, ``over`` both.
    """
    gains = steps_by_seed(scored.with_new_head(*CAPACITY_GRIDS), first_network(scored))
    return _tested(scored, gains, CAPACITY_KEY, reference, "what capacity is worth")


def first_network(scored: ScoredCells) -> str | None:
    """The network that others are compared with; None for a study without cells."""
    return next(iter(scored.with_new_head("main")["architecture"]), None)


def slopes_by_seed(cells: pd.DataFrame) -> pd.DataFrame:
    """``initialisation``, ``DATA_KEY``, ``seed over coefficients``, whose sum of AUROCs is a seed's slope."""
    by = ["initialisation", *DATA_KEY]
    rows = []
    for key, group in cells.dropna(subset="run_id").groupby(by, sort=False):
        fractions = sorted(set(group["fraction"]))
        for seed, runs in group.groupby("seed", sort=False):
            if len(fractions) > 1 and len(runs) == len(fractions):
                coefficients = dict(zip(runs["run_id"], _of_slope(runs["fraction"].to_numpy(float)), strict=True))
                rows.append([*key, seed, ", ".join(f"{each:g}" for each in fractions), coefficients])
    return pd.DataFrame(rows, columns=[*by, "seed", "over", "coefficients"])


def steps_by_seed(cells: pd.DataFrame, first: str | None) -> pd.DataFrame:
    """As ``slopes_by_seed``, with ``CAPACITY_KEY``: each other network minus the ``first``."""
    done = cells.dropna(subset="run_id")[["initialisation", *CAPACITY_KEY, "seed", "run_id"]]
    of_first = done[done["architecture"] == first].drop(columns="architecture")
    same = [name for name in of_first if name != "run_id"]
    pairs = done[done["architecture"] != first].merge(of_first, on=same, suffixes=("", "_of_first"))
    coefficients: list[dict[str, float]] = [
        {pair["run_id"]: 1.0, pair["run_id_of_first"]: -1.0} for pair in pairs.to_dict("records")
    ]
    over = [f"{architecture} minus {first}" for architecture in pairs["architecture"]]
    return pairs.drop(columns=["run_id", "run_id_of_first"]).assign(over=over, coefficients=_column(coefficients))


def beside(gains: pd.DataFrame, key: Sequence[str], reference: str) -> pd.DataFrame:
    """Gains of every other initialisation minus those of ``reference``, of the same seed and over the same runs."""
    of_reference = gains["initialisation"] == reference
    same = [*key, "seed", "over"]
    theirs = gains[of_reference].drop(columns="initialisation")
    pairs = gains[~of_reference].merge(theirs, on=same, suffixes=("", "_of_reference"))
    coefficients = [
        _minus(pair["coefficients"], pair["coefficients_of_reference"]) for pair in pairs.to_dict("records")
    ]
    return pairs.drop(columns="coefficients_of_reference").assign(coefficients=_column(coefficients))


def _tested(
    scored: ScoredCells, gains: pd.DataFrame, key: Sequence[str], reference: str | None, family: str
) -> pd.DataFrame:
    by = ["initialisation", *key, "over"]
    if reference is not None:
        gains, family = beside(gains, key, reference), f"{family}, against {reference}"
    return contrasts_with_verdicts(
        gains, by, lambda row: scored.sum_of_aurocs(row["coefficients"], row["dataset"]), family
    )


def _of_slope(fractions: Any) -> list[float]:
    doublings = np.log2(fractions)
    centred = doublings - doublings.mean()
    return (centred / (centred**2).sum()).tolist()


def _column(coefficients: list[dict[str, float]]) -> pd.Series:
    return pd.Series(coefficients, index=range(len(coefficients)), dtype=object)


def _minus(first: Coefficients, second: Coefficients) -> dict[str, float]:
    return {**first, **{run_id: -coefficient for run_id, coefficient in second.items()}}
