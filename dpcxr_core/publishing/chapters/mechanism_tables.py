"""Named trainings beside each other, as tables: AUROC, gradient norms and what each mechanism promises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from dpcxr_core.accounting.poisson import LARGEST_EPSILON, epsilon_pld
from dpcxr_core.accounting.tuning import TuningCost
from dpcxr_core.config import PrivacySpecification
from dpcxr_core.publishing.tables import one_metric, show_p, with_interval, with_seeds_where_known
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.training.record import read_record, read_table

Folders = Mapping[tuple[str, int], Path | None]


def aurocs_by_name(folders: Folders, places: StudyPlaces, n_jobs: int = 1) -> pd.DataFrame:
    """Macro AUROC on the internal test set: ``name seed value low high``; NaN for a run that diverged.

    Args:
        folders: Record folders by (name, seed), not all None; None for a run that diverged.
        places: Of the study.
        n_jobs: Processes that evaluate what is not evaluated yet.
    """
    finished = [folder for folder in folders.values() if folder is not None]
    found = one_metric(metrics_table(finished, places, n_jobs), places.private_dataset, "auroc").set_index("run_id")
    names = pd.DataFrame(list(folders), columns=["name", "seed"])
    run_ids = ["" if folder is None else folder.name for folder in folders.values()]
    return pd.concat([names, found[["value", "low", "high"]].reindex(run_ids).reset_index(drop=True)], axis="columns")


def norms_by_step(folders: Folders) -> pd.DataFrame:
    """Median gradient norm of every step, in clip norms: ``name seed step norm``. Computed from training images."""
    tables = []
    for (name, seed), folder in folders.items():
        privacy = None if folder is None else read_record(folder).config.privacy
        if folder is not None and privacy is not None:
            steps = read_table(folder, "diagnostics")
            norm = steps["median_norm"] / privacy.max_grad_norm
            tables.append(pd.DataFrame({"name": name, "seed": seed, "step": steps["step"], "norm": norm}))
    columns = ["name", "seed", "step", "norm"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def show_arms(
    aurocs: pd.DataFrame, differences: pd.DataFrame, reference: str, norms: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row a training: AUROC over seeds, its difference to ``reference`` with interval and test, gradient norm.

    Args:
        aurocs: As from ``aurocs_by_name``.
        differences: As from ``claims.against_one_of``.
        reference: The training that the others are compared with.
        norms: As from ``norms_by_step``; None, or no row, where norms are not to be shown.
    """
    against = {
        row["name"]: {
            f"minus {reference}": with_interval(row["value"], row["low"], row["high"], "+.3f", if_nan="diverged"),
            "p, adjusted": show_p(row["p_adjusted"]),
            "verdict": row["verdict"],
        }
        for row in with_seeds_where_known(differences).to_dict("records")
    }
    nothing = dict.fromkeys((f"minus {reference}", "p, adjusted", "verdict"), "-")
    rows = {}
    for name, seeds in aurocs.groupby("name", sort=False):
        rows[name] = {"macro AUROC": _over_seeds(seeds["value"]), **(nothing if name == reference else against[name])}
        if norms is not None and len(norms):
            norm = norms.loc[norms["name"] == name, "norm"].median()
            rows[name]["median gradient norm, in clip norms"] = "not known" if math.isnan(norm) else f"{norm:.3g}"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("training")


def show_guarantees(specifications: Mapping[str, PrivacySpecification]) -> pd.DataFrame:
    """One row a mechanism: its epsilon and for whom it holds, or that there is none, and why."""
    rows = {}
    for name, each in specifications.items():
        epsilon, why = "none", _why_none(each)
        if each.promises:
            epsilon = (
                f"{epsilon_pld(*each.accounted):.3f} at a delta of {each.delta:g}, one {each.privacy_unit} added or "
                "removed, Poisson sampling"
            )
        rows[name] = {"epsilon": epsilon, "why": why}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("training")


def _why_none(specification: PrivacySpecification) -> str:
    bounded, noisy = specification.clipping != "none", specification.noise_multiplier > 0
    if bounded and noisy and specification.promises:
        return f"one {specification.privacy_unit} moves the sum by at most the clip norm, and noise covers that"
    if bounded and noisy:
        return f"the accountant does not describe {specification.sampler.replace('_', ' ')} draws"
    if bounded:
        return "each contribution is bounded, but nothing hides it: with and without it the weights differ for certain"
    if noisy:
        return "no bound on a contribution: for any noise there is an image that stands out of it"
    return "neither a bound nor noise"


def show_contributions(contributions: pd.DataFrame) -> pd.DataFrame:
    """Contributions of single images in clip norms, a row an image; at most 1 is what a guarantee needs."""
    shown = contributions.set_index("image").map("{:,.3g}".format)
    return shown.rename(columns=lambda name: name.replace("_", " "))


def arms_in_words(differences: pd.DataFrame, reference: str) -> str:
    """Which trainings end above or below ``reference``, which cannot be told from it, which diverged."""
    parts = []
    for verdict, words in (
        ("better", f"better than *{reference}*"),
        ("worse", f"worse than *{reference}*"),
        ("not distinguishable", f"not to be told from *{reference}*"),
        ("diverged", "without a result, as the loss stopped being finite"),
    ):
        names = [f"*{name}*" for name in differences.loc[differences["verdict"] == verdict, "name"]]
        if names:
            parts.append(f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {words}")
    return "; ".join(parts) + "." if parts else "Nothing was compared."


def show_tuning(costs: Sequence[TuningCost]) -> pd.DataFrame:
    """One row a number of runs: epsilon of the best of them, of all of them, and the noise that makes up for it."""
    unlimited = f"above {LARGEST_EPSILON:g}"
    rows = [
        {
            "runs": f"{cost.mean_runs}",
            "epsilon, best of a random number (RDP)": f"{cost.epsilon_tuned:.3g}",
            "epsilon, all of them (PLD)": unlimited
            if math.isinf(cost.epsilon_composed)
            else f"{cost.epsilon_composed:.3g}",
            "at a delta of": f"{cost.delta:g}",
            "neighbours": f"one {cost.privacy_unit} added or removed",
            "noise that makes up for the choice (RDP)": f"{cost.noise_factor:.2f} times",
        }
        for cost in costs
    ]
    return pd.DataFrame(rows).set_index("runs")


def _over_seeds(values: pd.Series) -> str:
    known = values.dropna()
    if known.empty:
        return "diverged"
    spread = "" if len(known) == 1 else f" ({known.min():.3f} to {known.max():.3f})"
    lost = len(values) - len(known)
    return f"{known.mean():.3f}{spread}" + (f"; {lost} of {len(values)} seeds diverged" if lost else "")


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
