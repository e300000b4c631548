"""Statements that the runs of a comparison support, contradict, or leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.evaluation.comparing.paired import paired_difference, verdict_of_interval
from dpcxr_core.places import StudyPlaces
from dpcxr_core.study import cohort_tested_on
from dpcxr_core.training.record import read_table


def cost_of_privacy(macro: pd.DataFrame) -> pd.DataFrame:
    """Macro AUROC without privacy minus with it: one row an initialisation, one column a target epsilon.

    What was not trained without privacy is left out.

    Args:
        macro: ``over_seeds`` of macro AUROC on one data set, by ``init_label kind target_epsilon``.
    """
    without = macro[macro["kind"] == "non_private"].set_index("init_label")["value"]
    private = macro[macro["kind"] == "private"]
    table = private.pivot(index="init_label", columns="target_epsilon", values="value")
    compared = [label for label in private["init_label"].unique() if label in without.index]
    return table.rsub(without, axis=0).loc[compared]


def against_public_only(folders: Sequence[Path], runs: pd.DataFrame, places: StudyPlaces) -> pd.DataFrame:
    """Each condition's macro AUROC minus the public-only model's, on the internal test set.

    Args:
        folders: Record folders, in the order of ``runs``.
        runs: Runs table; holds exactly one public-only run.
        places: Of the study.

    Returns:
        One row a condition: ``init_label kind target_epsilon value low high verdict``. ``value`` is the mean over
        seeds, ``low`` and ``high`` the envelope of the seeds' paired intervals, and ``verdict`` is
        "better" or "worse" only when all seeds' intervals lie on one side of zero.
    """
    reference = folders[runs["kind"].to_list().index("public_only")]
    rows = [
        {**_condition(run), **_difference(folder, reference, places)}
        for folder, run in zip(folders, runs.to_dict("records"), strict=True)
        if run["kind"] != "public_only"
    ]
    return _over_seeds(pd.DataFrame(rows), ["init_label", "kind", "target_epsilon"])


def order_of_initialisations(
    folders: Sequence[Path], runs: pd.DataFrame, places: StudyPlaces, init_names: Sequence[str]
) -> pd.DataFrame:
    """The study's order on the stand-ins: neighbours in the order expected, seed against seed.

    Args:
        folders: Record folders, in the order of ``runs``.
        runs: Runs table.
        places: Of the study.
        init_names: Non-domain supervised, non-domain self-supervised and domain, as the last three.

    Returns:
        One row a pair of initialisations and a level of privacy: ``claim kind target_epsilon value low high
        verdict``; a positive ``value`` is in favour of the claim.
    """
    rows = []
    pairs = list(zip(init_names[-2:], init_names[-3:-1], strict=True))
    by_id = {folder.name: folder for folder in folders}
    trained = runs[(runs["head"] == "reset") & (runs["kind"] != "public_only")]
    for better, worse in pairs:
        first, second = (trained[trained["init_name"] == name] for name in (better, worse))
        same = ["kind", "target_epsilon", "seed"]
        both = first.merge(second, on=same, suffixes=("_first", "_second"))
        for pair in both.to_dict("records"):
            difference = _difference(by_id[pair["run_id_first"]], by_id[pair["run_id_second"]], places)
            claim = f"{pair['init_label_first']} > {pair['init_label_second']}"
            rows.append({"claim": claim, **{name: pair[name] for name in same}, **difference})
    return _over_seeds(pd.DataFrame(rows), ["claim", "kind", "target_epsilon"])


def against_one_of(folders: Mapping[tuple[str, int], Path | None], reference: str, places: StudyPlaces) -> pd.DataFrame:
    """Macro AUROC of each of several named conditions minus that of the one named ``reference``, seed against seed.

    Args:
        folders: Record folders by (name, seed), as ``grid.ablation_runs`` names its runs; None for a run that
            diverged.
        reference: The name to compare with; its runs must have finished.
        places: Of the study.

    Returns:
        One row a name other than ``reference``, in the order of ``folders``: ``name value low high n_seeds
        n_diverged verdict``, as from ``against_public_only``. NaN, and "diverged", where no seed finished.
    """
    rows = []
    for (name, seed), folder in folders.items():
        of_reference = folders[reference, seed]
        if name != reference and folder is not None and of_reference is not None:
            rows.append({"name": name, "seed": seed, **_difference(folder, of_reference, places)})
    columns = ["name", "value", "low", "high", "n_seeds", "verdict"]
    found = _over_seeds(pd.DataFrame(rows), ["name"]) if rows else pd.DataFrame(columns=columns)
    names = [name for name in dict.fromkeys(name for name, _ in folders) if name != reference]
    found = found.set_index("name").reindex(names).rename_axis("name").reset_index()
    lost = pd.Series([name for (name, _), folder in folders.items() if folder is None], dtype=object).value_counts()
    found["n_diverged"] = [int(lost.get(name, 0)) for name in names]
    found["n_seeds"] = found["n_seeds"].fillna(0).astype(int)
    found["verdict"] = found["verdict"].fillna("diverged")
    return found[["name", "value", "low", "high", "n_seeds", "n_diverged", "verdict"]]


def _condition(run: dict[Any, Any]) -> dict[str, Any]:
    return {name: run[name] for name in ("init_label", "kind", "target_epsilon", "seed")}


def _difference(first: Path, second: Path, places: StudyPlaces) -> dict[str, float]:
    """Macro AUROC of ``first`` minus ``second`` on the internal test set, with its paired interval."""
    dataset = places.private_dataset
    scores = [read_table(folder, "scores") for folder in (first, second)]
    ours, theirs = (table[table["dataset"] == dataset] for table in scores)
    cohort = cohort_tested_on(places)
    rows = paired_difference(ours, theirs, cohort[cohort["dataset"] == dataset], n_resamples=places.n_resamples, seed=0)
    macro = rows[rows["finding"] == "macro"].iloc[0]
    return {name: float(macro[name]) for name in ("value", "low", "high")}


def _over_seeds(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Mean over seeds; a verdict only where the intervals of all seeds agree."""

    def together(seeds: pd.DataFrame) -> pd.Series:
        verdicts = {verdict_of_interval(*row) for row in seeds[["value", "low", "high"]].to_numpy()}
        return pd.Series(
            {
                "value": seeds["value"].mean(),
                "low": seeds["low"].min(),
                "high": seeds["high"].max(),
                "n_seeds": len(seeds),
                "verdict": verdicts.pop() if len(verdicts) == 1 else "not distinguishable",
            }
        )

    columns = [name for name in rows.columns if name not in by]
    return rows.groupby(by, dropna=False, sort=False)[columns].apply(together).reset_index()
