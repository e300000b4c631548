"""What the comparison of gradients found, in words: wrong layers, broken bounds, trainings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.other_engines.comparison import GRADIENTS, final_aurocs
from dpcxr_core.provenance import PROJECT_FOLDER

_PATCH = PROJECT_FOLDER / "benchmarks" / "opacus_unfold2d.patch"
_SHIPPED, _CURED, _OURS = GRADIENTS


@dataclass(frozen=True)
class StoredSurvey:
    """What ``python -m benchmarks.gradient_bug`` found with one version of Opacus.

    Attributes:
        opacus: The version.
        cases: As in ``GradientSurvey``.
        wrong_layers: The rows of ``GradientSurvey.layers`` that are wrong.
        unseen_image: As from ``contributions_of_unseen``.
        climbed_image: Contributions of a random and of a climbed image to a real network, in clip norms.
        versions: Of all that it ran on.
    """

    opacus: str
    cases: pd.DataFrame
    wrong_layers: pd.DataFrame
    unseen_image: pd.DataFrame
    climbed_image: Mapping[str, Any]
    versions: Mapping[str, str]


def read_survey(folder: str | Path, version: str) -> StoredSurvey:
    """The survey of Opacus ``version`` in ``folder``, which is seen from the project where it is not absolute.

    Raises:
        UserError: It is missing.
    """
    path = PROJECT_FOLDER / folder / f"gradient_bug_opacus-{version}.json"
    if not path.is_file():
        raise UserError(f"{path} is missing; run python -m benchmarks.gradient_bug --opacus {version}")
    found = json.loads(path.read_text())
    tables = {name: pd.DataFrame(found[name]) for name in ("cases", "wrong_layers", "unseen_image")}
    return StoredSurvey(found["opacus"], climbed_image=found["climbed_image"], versions=found["versions"], **tables)


def upstream_patch() -> str:
    """The change proposed to Opacus, with its test."""
    return _PATCH.read_text()


def show_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """One row a network and memory format, one column a method: wrong parameters of all, and error of the sum."""
    cells = cases.assign(cell=[_case(row) for row in cases.to_dict("records")])
    rows = list(cells.groupby(["network", "memory_format"], sort=False).groups)
    table = cells.pivot(index=["network", "memory_format"], columns="method", values="cell")
    ordered = table.loc[rows, list(dict.fromkeys(cases["method"]))]
    return ordered.rename_axis(columns=None).rename_axis(index=["network", "memory format"])


def _case(row: Mapping[Any, Any]) -> str:
    if isinstance(row.get("failure"), str):
        return "refused" if row["failure"].startswith("refused") else "fails"
    if pd.isna(row.get("n_wrong")):
        return f"{row['sum_error']:.0e}"
    return f"{row['n_wrong']:.0f} of {row['n_parameters']:.0f}; {row['sum_error']:.0e}"


def show_wrong_layers(layers: pd.DataFrame, network: str) -> pd.DataFrame:
    """Relative errors of the parameters of ``network`` that any method gets wrong, a column a method.

    Of "ghost", which makes no per-image gradients, it is the error of the norms.
    """
    here = layers[layers["network"] == network]
    wrong = here[here["parameter"].isin(here[here["wrong"]]["parameter"])]
    error = wrong["gradient_error"].fillna(wrong["norm_error"]).map("{:.2g}".format)
    table = wrong.assign(error=error).pivot(index="parameter", columns="method", values="error")
    order = list(dict.fromkeys(wrong["parameter"])), list(dict.fromkeys(wrong["method"]))
    return table.reindex(index=order[0], columns=order[1]).rename_axis(columns=None)


def show_unseen(unseen: pd.DataFrame) -> pd.DataFrame:
    """Contributions in clip norms, a row a brightness; at most 1 is what the guarantee needs."""
    shown = unseen.map("{:.4g}".format).rename(columns={"true_norm": "before clipping"})
    return shown.set_index("brightness")


def show_climbed(climbed: Mapping[str, Any]) -> pd.DataFrame:
    """Contributions in clip norms of a random image and of one found by gradient ascent, a row a method."""
    return pd.DataFrame({f"{kind} image": climbed[kind] for kind in ("random", "climbed")}).map("{:.4f}".format)


def same_layers_wrong(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Whether two tables of wrong layers name the same ones for the cases that both hold, in words."""
    keys = ["network", "memory_format", "method", "parameter"]
    first, second = ({tuple(row) for row in each[keys].itertuples(index=False)} for each in (a, b))
    if first == second:
        return f"the same {len(first)} layers of all cases together are wrong"
    return f"{len(first - second)} layers are wrong in the first only, {len(second - first)} in the second only"


def show_final_aurocs(aurocs: pd.DataFrame) -> pd.DataFrame:
    """Macro AUROC after the last step, a row an initialisation and seed, with what the wrong gradients cost."""
    table = final_aurocs(aurocs)
    cost = (table[_OURS] - table[_SHIPPED]).map("{:+.3f}".format)
    shown = table.map("{:.4f}".format).assign(**{"cost of wrong gradients": cost})
    return shown.rename_axis(index=["initialisation", "seed"])


def trainings_in_words(aurocs: pd.DataFrame) -> str:
    """What wrong and cured gradients do to AUROC, in one or two sentences; no verdict where seeds disagree."""
    if aurocs.empty:
        return "No training was compared: `seeds` is empty."
    table = final_aurocs(aurocs)
    costs = (table[_OURS] - table[_SHIPPED]).groupby(level=0)
    sentences = [f"From *{label}*, {_cost_in_words(cost)}." for label, cost in costs]
    cured = (table[_OURS] - table[_CURED]).abs().max()
    return " ".join([*sentences, f"Cured, Opacus and this project differ by at most {cured:.0e}."])


def _cost_in_words(cost: pd.Series) -> str:
    """``cost``: right minus wrong AUROC, one a seed."""
    if len(cost) == 1:
        return f"AUROC with the right gradients minus with the wrong ones is {cost.iloc[0]:+.3f}, of one seed"
    if cost.min() <= 0 <= cost.max():
        between = f"{cost.min():+.3f} and {cost.max():+.3f}"
        return f"the seeds disagree: right minus wrong lies between {between} over {len(cost)} seeds"
    verdict = "lower" if cost.mean() > 0 else "higher"
    least, most = (f"{value:.3f}" for value in (cost.abs().min(), cost.abs().max()))
    by = least if least == most else f"{least} to {most}"
    return f"AUROC is {verdict} with the wrong gradients in all of {len(cost)} seeds, by {by}"
