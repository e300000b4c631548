"""What each of the paper's claims compares, in every regime of a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.gap_differences import gap_difference
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.study import scaling
from dpcxr_core.study.scored_cells import ScoredCells, auroc_of

SUPERVISED, SELF_SUPERVISED, DOMAIN = "supervised", "self_supervised", "domain"
REGIME = ["dataset", "architecture", "unit", "fraction", "target_epsilon"]
BY_GROUP = " by "  # between a gap and its group column, in the name of a part
Roles = Mapping[str, str]
Row = dict[Any, Any]
# equalized odds of the worst rate and of both, and of hits alone, as "EOD" may mean either; and statistical parity
_GAPS = (
    *("equalized_odds_difference", "equalized_odds_difference_mean", "tpr_difference"),
    "selection_rate_difference",
)


@dataclass(frozen=True, eq=False)
class Contrast:
    """One contrast of a claim, in every regime.

    Attributes:
        part: The part of the claim that it is of.
        name: What is subtracted from what.
        seeds: ``REGIME``, ``seed`` and the columns of ``needs``, None where what one names is not there.
        needs: What has to be there for a seed to count.
        measure: ``(1 + n_resamples,)`` of a row of ``seeds``, and how much of it unequal noise may explain.
        degrees: Of freedom, of the patients' error in a row of ``seeds``; infinite where all patients are compared.
    """

    part: str
    name: str
    seeds: pd.DataFrame
    needs: tuple[str, ...]
    measure: Callable[[Row], tuple[NDArray[np.float64], float]]
    degrees: Callable[[Row], float] = lambda _: math.inf


def _private(cells: pd.DataFrame) -> pd.DataFrame:
    return cells[np.isfinite(cells["target_epsilon"])]


def _beside(cells: pd.DataFrame, roles: Roles, names: Sequence[str]) -> pd.DataFrame:
    """Private cells of the main grid by regime and seed; a column of run ids for the initialisation of each role."""
    private = _private(cells)
    of_roles = [
        private.loc[private["initialisation"] == roles.get(name), [*REGIME, "seed", "run_id"]].rename(
            columns={"run_id": name}
        )
        for name in names
    ]
    return reduce(lambda left, right: left.merge(right, on=[*REGIME, "seed"], how="outer"), of_roles)


def _sum_of(scored: ScoredCells, coefficients: Mapping[str, float], row: Row) -> tuple[NDArray[np.float64], float]:
    """The macro AUROCs at home of the runs that columns of ``row`` name, each times its own coefficient, added up."""
    of_runs = {row[column]: coefficient for column, coefficient in coefficients.items()}
    return scored.sum_of_aurocs(of_runs, row["dataset"]), 0.0


def self_supervised_at_home(scored: ScoredCells, roles: Roles) -> list[Contrast]:
    """Claim 1: one initialisation against another, each with privacy."""
    return [_at_home(scored, roles, SELF_SUPERVISED, SUPERVISED)]


def domain_at_home(scored: ScoredCells, roles: Roles) -> list[Contrast]:
    """Claim 2: domain weights against self-supervised ones, and what privacy costs from the others and from them."""
    costs = [_cost_of_privacy(scored, roles, other) for other in (SUPERVISED, SELF_SUPERVISED)]
    return [_at_home(scored, roles, DOMAIN, SELF_SUPERVISED), *costs]


def _at_home(scored: ScoredCells, roles: Roles, better: str, worse: str) -> Contrast:
    seeds = _beside(scored.with_new_head("main"), roles, [better, worse])
    measure = partial(_sum_of, scored, {better: 1.0, worse: -1.0})
    return Contrast("AUROC at home", f"{better} minus {worse}", seeds, (better, worse), measure)


def _cost_of_privacy(scored: ScoredCells, roles: Roles, other: str) -> Contrast:
    cells = scored.with_new_head("main")
    ordinary, same = cells[np.isposinf(cells["target_epsilon"])], ["dataset", "architecture", "fraction", "seed"]
    seeds, coefficients = _beside(cells, roles, [other, DOMAIN]), {other: -1.0, DOMAIN: 1.0}
    for name in (other, DOMAIN):
        column = f"{name} without privacy"
        of_role = ordinary.loc[ordinary["initialisation"] == roles.get(name), [*same, "run_id"]]
        seeds = seeds.merge(of_role.rename(columns={"run_id": column}), on=same, how="left")
        coefficients[column] = -coefficients[name]
    name = f"cost of privacy, {other} minus {DOMAIN}"
    return Contrast("cost of privacy", name, seeds, tuple(coefficients), partial(_sum_of, scored, coefficients))


def gap_between_ages(scored: ScoredCells, roles: Roles) -> list[Contrast]:
    """Claim 3: how far the AUROCs of age bands lie apart."""
    return [_gap(scored, roles, "auroc_range", "age_band")]


def gaps_between_groups(scored: ScoredCells, roles: Roles) -> list[Contrast]:
    """Claim 4: every definition in ``_GAPS``, between sexes and between age bands."""
    return [_gap(scored, roles, metric, column) for metric in _GAPS for column in ("sex", "age_band")]


def _gap(scored: ScoredCells, roles: Roles, metric: str, column: str) -> Contrast:
    groups = f"groups by {column}"
    parted = any(column in dict(draws.groups) for of_run in scored.draws.values() for draws in of_run.values())
    seeds = _beside(scored.with_new_head("main"), roles, [SUPERVISED, SELF_SUPERVISED])

    def measure(row: Row) -> tuple[NDArray[np.float64], float]:
        supervised, ours = (scored.at_home(row[name], row["dataset"]) for name in (SUPERVISED, SELF_SUPERVISED))
        return gap_difference(supervised, ours, metric, column)

    def degrees(row: Row) -> float:
        home = scored.at_home(row[SUPERVISED], row["dataset"])  # the patients are those of the other run, too
        return home.degrees(MACRO, [group for group in home.groups if group[0] == column])

    name = f"{metric}{BY_GROUP}{column}, {SUPERVISED} minus {SELF_SUPERVISED}"
    needs = (SUPERVISED, SELF_SUPERVISED, groups)
    return Contrast(
        f"{metric}{BY_GROUP}{column}", name, seeds.assign(**{groups: parted or None}), needs, measure, degrees
    )


def self_supervised_abroad(scored: ScoredCells, roles: Roles) -> list[Contrast]:
    """Claim 5: one initialisation against another, on the test images of all other hospitals."""
    seeds = _beside(scored.with_new_head("main"), roles, [SELF_SUPERVISED, SUPERVISED])
    others = seeds["dataset"].map({dataset: True for dataset, hospitals in scored.abroad.items() if hospitals})

    def measure(row: Row) -> tuple[NDArray[np.float64], float]:
        ours, theirs = (
            np.mean([auroc_of(scored.draws[row[name]][hospital]) for hospital in scored.abroad[row["dataset"]]], axis=0)
            for name in (SELF_SUPERVISED, SUPERVISED)
        )
        return ours - theirs, 0.0

    needs = (SELF_SUPERVISED, SUPERVISED, "other hospitals")
    seeds = seeds.assign(**{"other hospitals": others})
    return [Contrast("AUROC abroad", f"{SELF_SUPERVISED} minus {SUPERVISED}", seeds, needs, measure)]


def gains_by_initialisation(scored: ScoredCells, roles: Roles) -> list[Contrast]:
    """Claim 6: what data and capacity are worth with privacy, from neighbours in the paper's order of initialisations.

    What is planned and did not run has its row, too.
    """
    data, capacity = (_private(scored.with_new_head(*grids)) for grids in (scaling.DATA_GRIDS, scaling.CAPACITY_GRIDS))
    first = scaling.first_network(scored)
    scaled = data.groupby(scaling.DATA_KEY)["fraction"].transform("nunique") > 1
    slopes, steps = scaling.slopes_by_seed(data), scaling.steps_by_seed(capacity, first)
    parts = (
        (("data", "gain with data", "fractions"), scaling.DATA_KEY, data[scaled], slopes),
        (
            ("capacity", f"other network minus {first}", "networks"),
            *(scaling.CAPACITY_KEY, capacity[capacity["architecture"] != first], steps),
        ),
    )
    neighbours = ((SELF_SUPERVISED, SUPERVISED), (DOMAIN, SELF_SUPERVISED))
    return [_gain(scored, roles, pair, *part) for part in parts for pair in neighbours]


def _gain(
    scored: ScoredCells,
    roles: Roles,
    pair: tuple[str, str],
    words: tuple[str, str, str],
    key: Sequence[str],
    planned: pd.DataFrame,
    gains: pd.DataFrame,
) -> Contrast:
    (better, worse), (part, gain, several) = pair, words
    need = f"{better} and {worse} with several {several}"
    of_planned, of_both = (
        cells[cells["initialisation"].isin([roles.get(name) for name in pair])] for cells in (planned, gains)
    )
    found = scaling.beside(of_both, key, roles.get(worse, "")).rename(columns={"coefficients": need})
    regimes = of_planned[[*key, "seed"]].drop_duplicates()
    found = found[[*key, "seed", need]].astype(regimes.dtypes.to_dict())  # an empty one knows no types
    seeds = regimes.merge(found, on=[*key, "seed"], how="left")
    if "fraction" not in key:  # a slope is over all of them
        seeds = seeds.assign(fraction=np.nan)

    def measure(row: Row) -> tuple[NDArray[np.float64], float]:
        return scored.sum_of_aurocs(row[need], row["dataset"]), 0.0

    return Contrast(part, f"{gain}, {better} minus {worse}", seeds, (need,), measure)
