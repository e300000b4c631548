"""Statements that the runs of a comparison support, contradict, or leave open.

Every table here compares macro AUROCs on the internal test set, seed against seed, and is one family of tests: its
``p_adjusted`` is Holm's, so that the chance of any false verdict in the table is about 5% if its rows vary as much
between seeds, independently. ``paired.table_over_seeds`` says how much more it is where they do not, as when rows are
compared with the same run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.difference_in_differences import with_and_without_privacy
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.comparing.multiplicity import holm, with_adjusted_p
from dpcxr_core.evaluation.comparing.paired import contrasts_over_seeds, difference_of_draws, verdict
from dpcxr_core.study.evaluating import draws_by_run
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.training.record import without_folder


def cost_of_privacy(folders: Sequence[Path], runs: pd.DataFrame, places: StudyPlaces) -> pd.DataFrame:
    """Macro AUROC without privacy minus with it: one row an initialisation and target epsilon.

    What was not trained without privacy is left out.

    Args:
        folders: Record folders, in the order of ``runs``.
        runs: Runs table.
        places: Of the study.

    Returns:
        ``init_label target_epsilon`` and the columns of ``paired.table_over_seeds``, with ``family p_adjusted
        n_in_family``. A positive ``value`` is what privacy costs.
    """
    pairs = with_and_without_privacy(runs).rename(columns={"run_id": "second", "run_id_without": "first"})
    compared = _compared(pairs, ["init_label", "target_epsilon"], folders, places)
    return with_adjusted_p(compared, "cost of privacy", holm)


def against_public_only(folders: Sequence[Path], runs: pd.DataFrame, places: StudyPlaces) -> pd.DataFrame:
    """Each condition's macro AUROC minus the public-only model's.

    The public-only model is one given model: seeds are those of the runs compared with it.

    Args:
        folders: Record folders, in the order of ``runs``.
        runs: Runs table; holds exactly one public-only run.
        places: Of the study.

    Returns:
        One row a condition: ``init_label kind target_epsilon``, the columns of ``paired.table_over_seeds``,
        ``family p_adjusted n_in_family`` and ``verdict``: "better" or "worse" where ``p_adjusted`` is at most 0.05.
    """
    public_only = runs["kind"] == "public_only"
    pairs = runs[~public_only].rename(columns={"run_id": "first"}).assign(second=runs.loc[public_only, "run_id"].item())
    by = ["init_label", "kind", "target_epsilon"]
    compared = _compared(pairs, by, folders, places)
    return _with_verdict(with_adjusted_p(compared, "against the public-only model", holm))


def order_of_initialisations(
    folders: Sequence[Path], runs: pd.DataFrame, places: StudyPlaces, init_names: Sequence[str]
) -> pd.DataFrame:
    """The study's order on the stand-ins: neighbours in the order expected.

    Args:
        folders: Record folders, in the order of ``runs``.
        runs: Runs table.
        places: Of the study.
        init_names: Non-domain supervised, non-domain self-supervised and domain, as the last three.

    Returns:
        One row a pair of initialisations and a level of privacy: ``claim kind target_epsilon`` and the columns of
        ``against_public_only``; a positive ``value`` is in favour of the claim.
    """
    trained = runs[(runs["head"] == "reset") & (runs["kind"] != "public_only")]
    same = ["kind", "target_epsilon", "seed"]
    pairs = []
    for better, worse in zip(init_names[-2:], init_names[-3:-1], strict=True):
        first, second = (trained[trained["init_name"] == without_folder(name)] for name in (better, worse))
        both = first.merge(second, on=same, suffixes=("_first", "_second"))
        both["claim"] = both["init_label_first"] + " > " + both["init_label_second"]
        pairs.append(both.rename(columns={"run_id_first": "first", "run_id_second": "second"}))
    by = ["claim", "kind", "target_epsilon"]
    compared = _compared(pd.concat(pairs), by, folders, places)
    return _with_verdict(with_adjusted_p(compared, "order of initialisations", holm))


def against_one_of(folders: Mapping[tuple[str, int], Path | None], reference: str, places: StudyPlaces) -> pd.DataFrame:
    """Macro AUROC of each of several named conditions minus that of the one named ``reference``.

    Args:
        folders: Record folders by (name, seed), as ``grid.ablation_runs`` names its runs; None for a run that
            diverged.
        reference: The name to compare with; its runs must have finished.
        places: Of the study.

    Returns:
        One row a name other than ``reference``, in the order of ``folders``: ``name``, the columns of
        ``against_public_only``, and ``n_diverged``. NaN, and "diverged", where no seed finished.
    """
    finished = {run: folder.name for run, folder in folders.items() if folder is not None}
    pairs = [
        {"name": name, "seed": seed, "first": run_id, "second": finished[reference, seed]}
        for (name, seed), run_id in finished.items()
        if name != reference and (reference, seed) in finished
    ]
    there = [folder for folder in folders.values() if folder is not None]
    compared = pd.DataFrame(pairs, columns=["name", "seed", "first", "second"])
    names = [name for name in dict.fromkeys(name for name, _ in folders) if name != reference]
    found = _compared(compared, ["name"], there, places).set_index("name").reindex(names).reset_index()
    found["n_seeds"] = found["n_seeds"].fillna(0).astype(int)
    lost = [name for (name, _), folder in folders.items() if folder is None]
    table = _with_verdict(with_adjusted_p(found, f"against {reference}", holm)).assign(
        n_diverged=[*map(lost.count, names)]
    )
    return table.assign(verdict=table["verdict"].where(table["n_seeds"] > 0, "diverged"))


def _compared(pairs: pd.DataFrame, by: list[str], folders: Sequence[Path], places: StudyPlaces) -> pd.DataFrame:
    """Macro AUROC of the runs ``first`` minus that of the runs ``second``, over seeds."""
    run_ids = {*pairs["first"], *pairs["second"]}
    draws = draws_by_run([folder for folder in folders if folder.name in run_ids], places)

    def difference(pair: dict[Any, Any]) -> NDArray[np.float64]:
        first, second = (draws[pair[name]][places.private_dataset] for name in ("first", "second"))
        return difference_of_draws(first, second, "auroc", MACRO, "all", "all")

    return contrasts_over_seeds(pairs, by, difference)


def _with_verdict(tested: pd.DataFrame) -> pd.DataFrame:
    verdicts = [verdict(value, p) for value, p in zip(tested["value"], tested["p_adjusted"], strict=True)]
    return tested.assign(verdict=np.array(verdicts, dtype=object))
