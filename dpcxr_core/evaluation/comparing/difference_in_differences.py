"""Whether privacy moves a gap between groups, and whether the initialisation changes by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.paired import contrasts_over_seeds, difference_of_draws
from dpcxr_core.evaluation.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A signed gap between two named groups: ``minuend`` minus ``subtrahend``.

    Signed, because only then is it the same sum of rates on the data and on every resample. A max-min gap is not:
    its two groups may be others on another resample, or in another run. Name the two that are meant.

    Attributes:
        metric: One of ``draws.DRAWN_METRICS``.
        finding: A finding, or "macro".
        group_column: The column that parts the images.
        minuend: One group.
        subtrahend: The other.
    """

    metric: str
    finding: str
    group_column: str
    minuend: str
    subtrahend: str


_BY = ["init_label", "target_epsilon", *(field.name for field in fields(Gap))]


def with_and_without_privacy(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs table's private runs, each beside the run without privacy of the same initialisation and seed.

    Args:
        runs: Runs table: ``run_id init_label kind target_epsilon seed``.

    Returns:
        ``init_label target_epsilon seed run_id run_id_without``; what has no counterpart is left out.
    """
    private, ordinary = (runs[runs["kind"] == kind] for kind in ("private", "non_private"))
    same = ["init_label", "seed"]
    pairs = private.merge(ordinary[[*same, "run_id"]], on=same, suffixes=("", "_without"), validate="many_to_one")
    return pairs[["init_label", "target_epsilon", "seed", "run_id", "run_id_without"]]


def gap_movements(draws: Mapping[str, Draws], runs: pd.DataFrame, gaps: Sequence[Gap]) -> pd.DataFrame:
    """Each gap with privacy minus the same gap without it, for each initialisation and target epsilon.

    A gap has widened where ``value`` has the sign of ``gap_without``, and narrowed or turned over where it has the
    other one. What groups differ in without privacy is in both gaps, and cancels.

    Args:
        draws: Of each run on one data set, by ``run_id``.
        runs: Runs table.
        gaps: The gaps asked about.

    Returns:
        ``init_label target_epsilon``, the fields of the gap, ``gap_with gap_without`` (means over the seeds) and the
        columns of ``paired.table_over_seeds``; runs are paired by seed.

    Raises:
        UserError: A run has no such draws, or no private run has a counterpart without privacy.
    """
    pairs = with_and_without_privacy(runs)
    if pairs.empty:
        raise UserError("no private run has a run without privacy of the same initialisation and seed to compare with")
    asked = _asked_of(pairs, gaps)
    for name, run in (("gap_with", "run_id"), ("gap_without", "run_id_without")):
        asked[name] = [_gap_on_the_data(draws[pair[run]], pair) for pair in asked.to_dict("records")]
    gaps_over_seeds = asked.groupby(_BY, sort=False)[["gap_with", "gap_without"]].mean().reset_index()
    return gaps_over_seeds.merge(
        contrasts_over_seeds(asked, _BY, partial(_moved, draws), partial(_degrees, draws)), on=_BY
    )


def changed_by_initialisation(
    draws: Mapping[str, Draws], runs: pd.DataFrame, gaps: Sequence[Gap], reference: str
) -> pd.DataFrame:
    """How far privacy moves each gap from one initialisation, minus how far from the ``reference``.

    All four runs of a seed meet the same resamples of patients.

    Args:
        draws: As ``gap_movements``.
        runs: Runs table.
        gaps: The gaps asked about.
        reference: ``init_label`` of the initialisation to compare with.

    Returns:
        ``init_label target_epsilon``, the fields of the gap and the columns of ``paired.table_over_seeds``, for
        every other initialisation with runs at the same target epsilon and seed.

    Raises:
        UserError: As ``gap_movements``, or the reference has no such runs.
    """
    pairs = with_and_without_privacy(runs)
    of_reference = pairs["init_label"] == reference
    if not of_reference.any():
        raise UserError(
            f"{reference!r} has no runs with and without privacy; choose among {sorted(set(pairs['init_label']))}"
        )
    both = pairs[~of_reference].merge(
        pairs[of_reference].drop(columns="init_label"), on=["target_epsilon", "seed"], suffixes=("", "_reference")
    )

    def change(four: dict[Any, Any]) -> NDArray[np.float64]:
        reference = {"run_id": four["run_id_reference"], "run_id_without": four["run_id_without_reference"]}
        return _moved(draws, four) - _moved(draws, four | reference)

    return contrasts_over_seeds(_asked_of(both, gaps), _BY, change, partial(_degrees, draws))


def _asked_of(pairs: pd.DataFrame, gaps: Sequence[Gap]) -> pd.DataFrame:
    return pairs.merge(pd.DataFrame([asdict(gap) for gap in gaps]), how="cross")


def _moved(draws: Mapping[str, Draws], pair: dict[Any, Any]) -> NDArray[np.float64]:
    """Draws of a gap with privacy minus the same gap without it."""
    runs = draws[pair["run_id"]], draws[pair["run_id_without"]]
    minuend, subtrahend = (
        difference_of_draws(*runs, pair["metric"], pair["finding"], pair["group_column"], pair[side])
        for side in ("minuend", "subtrahend")
    )
    return minuend - subtrahend


def _degrees(draws: Mapping[str, Draws], pair: dict[Any, Any]) -> float:
    """Of freedom, of the patients' error; all runs of a comparison are scored on the same patients."""
    groups = [(pair["group_column"], pair[side]) for side in ("minuend", "subtrahend")]
    return draws[pair["run_id"]].degrees(pair["finding"], groups)


def _gap_on_the_data(draws: Draws, gap: dict[Any, Any]) -> float:
    minuend, subtrahend = (
        draws.of(gap["metric"], gap["finding"], gap["group_column"], gap[side])[0] for side in ("minuend", "subtrahend")
    )
    return float(minuend) - float(subtrahend)
