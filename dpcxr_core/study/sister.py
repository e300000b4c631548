"""The published train-here, test-there matrix of a sister study beside ours, where the hospitals are the same."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.manifests import manifest
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.comparing.paired import contrasts_over_seeds
from dpcxr_core.evaluation.draws import Draws
from dpcxr_core.study.data_choice import PRIVATE_PART
from dpcxr_core.study.scored_cells import ScoredCells, auroc_of

MANIFEST = "sister_study.yml"
_FEWEST_HOSPITALS = 4  # of three there are six orders: no p-value below 0.17
_CELL = ["architecture", "target_epsilon", "train_dataset", "dataset"]


def published_matrix() -> pd.DataFrame:
    """Each published cell: ``level epsilon_above epsilon_up_to train_dataset dataset auroc other_reading``.

    ``other_reading`` is the second value of a cell that the authors print twice, else NaN.
    """
    facts = manifest(MANIFEST)
    other = {(each["level"], each["train_dataset"], each["dataset"]): each["auroc"] for each in facts["printed_twice"]}
    return pd.DataFrame(
        [
            {
                "level": level["label"],
                "epsilon_above": float(level["epsilon"][0]),
                "epsilon_up_to": float(level["epsilon"][1]),
                "train_dataset": train_dataset,
                "dataset": dataset,
                "auroc": auroc,
                "other_reading": other.get((level["label"], train_dataset, dataset), math.nan),
            }
            for level in facts["levels"]
            for train_dataset, row in level["auroc"].items()
            for dataset, auroc in zip(facts["hospitals"], row, strict=True)
        ]
    )


def published_drops() -> pd.DataFrame:
    """``level published_drop``: the mean AUROC at home minus the mean abroad, over all published hospitals."""
    levels = published_matrix().groupby("level", sort=False)
    drops = [(level, _drop(_square(cells, [*dict.fromkeys(cells["dataset"])], "auroc"))) for level, cells in levels]
    return pd.DataFrame(drops, columns=["level", "published_drop"])


def our_matrix(scored: ScoredCells, initialisation: str) -> pd.DataFrame:
    """Macro AUROC of the main grid's models from one initialisation on the test images of every hospital.

    Args:
        scored: Cells of the study.
        initialisation: Its short name.

    Returns:
        ``architecture target_epsilon train_dataset dataset n_findings`` (that the mean is over) and the columns of
        ``paired.table_over_seeds``. Data sets have the names of their images, without ``PRIVATE_PART`` behind a set of
        which a part is public.
    """
    cells = scored.with_new_head("main").query(
        "initialisation == @initialisation and unit == 'image' and fraction == 1"
    )
    tested = pd.DataFrame(
        [
            {**cell, "train_dataset": _images_of(scored.home[name]), "dataset": _images_of(store), "store": store}
            | {"n_findings": _n_findings(scored.draws[cell["run_id"]][store])}
            for cell, name in zip(cells.to_dict("records"), cells["dataset"], strict=True)
            if cell["run_id"] is not None
            for store in (scored.home[name], *scored.abroad[name])
        ],
        columns=[*_CELL, "n_findings", "seed", "run_id", "store"],
    )
    by = [*_CELL, "n_findings"]
    return contrasts_over_seeds(tested, by, lambda row: auroc_of(scored.draws[row["run_id"]][row["store"]]))


def beside_published(ours: pd.DataFrame) -> pd.DataFrame:
    """The cells of ``our_matrix`` whose hospitals are the sister study's: empty on simulated hospitals.

    Returns:
        The columns of ``ours``, and ``level auroc other_reading`` of the published cell in whose range of epsilon ours
        lies.
    """
    both = ours.merge(published_matrix(), on=["train_dataset", "dataset"])
    epsilon, up_to = both["target_epsilon"].astype(float), both["epsilon_up_to"]
    # the range without privacy starts where theirs with privacy end: a private run above has no counterpart
    inside = (both["epsilon_above"] < epsilon) & (epsilon <= up_to) & (np.isposinf(epsilon) == np.isposinf(up_to))
    return both[inside].drop(columns=["epsilon_above", "epsilon_up_to"]).reset_index(drop=True)


def agreement(ours: pd.DataFrame) -> pd.DataFrame:
    """Whether our matrix ranks its cells as the published one does, and loses as much on the way to other hospitals.

    Args:
        ours: From ``our_matrix``.

    Returns:
        One row a published level, or several where ours has several epsilons or networks there: ``level architecture
        target_epsilon n_hospitals rank_correlation`` (Spearman, over all cells of the hospitals in both), ``p``
        (one-sided: share of the orders of our hospitals, their own among them, that agree as well; cells of one row or
        column are not independent, whole hospitals are exchanged), ``published_drop our_drop`` (mean over hospitals of
        the AUROC at home minus the mean abroad) and ``reason`` where something is not comparable.
    """
    both = beside_published(ours)
    rows = []
    for level in dict.fromkeys(published_matrix()["level"]):
        of_level = both[both["level"] == level]
        if of_level.empty:
            rows.append({"level": level, "n_hospitals": 0, "reason": "nothing is comparable: no hospital of theirs"})
        for (architecture, epsilon), cells in of_level.groupby(["architecture", "target_epsilon"], sort=False):
            compared = {"level": level, "architecture": architecture, "target_epsilon": epsilon}
            rows.append(compared | _agreement(cells))
    columns = ["n_hospitals", "rank_correlation", "p", "published_drop", "our_drop", "reason"]
    return pd.DataFrame(rows, columns=["level", "architecture", "target_epsilon", *columns])


def _agreement(cells: pd.DataFrame) -> dict[str, float | str]:
    hospitals = [name for name in dict.fromkeys(cells["train_dataset"]) if name in set(cells["dataset"])]
    published, ours = (_square(cells, hospitals, column) for column in ("auroc", "value"))
    fewer = (cells["n_findings"] < len(FINDINGS)).any()
    note = f"some of our means are over fewer than their {len(FINDINGS)} findings" if fewer else ""
    found: dict[str, float | str] = {"n_hospitals": len(hospitals), "reason": note}
    if len(hospitals) < 2 or np.isnan(ours).any():
        return found | {"reason": "cells are missing" if len(hospitals) > 1 else "one hospital has no cell abroad"}
    found |= {"published_drop": _drop(published), "our_drop": _drop(ours)}
    if len(hospitals) < _FEWEST_HOSPITALS:
        return found | {"reason": f"fewer than {_FEWEST_HOSPITALS} hospitals: too few to rank"}
    orders = [list(order) for order in permutations(range(len(hospitals)))]
    theirs, ranked = (rankdata(matrix).reshape(matrix.shape) for matrix in (published, ours))
    correlations = [np.corrcoef(theirs.ravel(), ranked[np.ix_(order, order)].ravel())[0, 1] for order in orders]
    share = np.mean(np.array(correlations) >= correlations[0] - 1e-12)  # equal orders may differ in rounding
    return found | {"rank_correlation": float(correlations[0]), "p": float(share)}


def _square(cells: pd.DataFrame, hospitals: list[str], column: str) -> NDArray[np.float64]:
    matrix = cells.pivot(index="train_dataset", columns="dataset", values=column)
    return matrix.reindex(index=hospitals, columns=hospitals).to_numpy(dtype=float)


def _drop(matrix: NDArray[np.float64]) -> float:
    abroad = ~np.eye(len(matrix), dtype=bool)
    return float(np.diag(matrix).mean() - matrix[abroad].mean())


def _n_findings(draws: Draws) -> int:
    """Over how many findings the macro AUROC on all images is."""
    return sum(np.isfinite(draws.of("auroc", name, "all", "all")[0]) for name in draws.findings if name != MACRO)


def _images_of(store: str) -> str:
    return store.removesuffix(PRIVATE_PART)
