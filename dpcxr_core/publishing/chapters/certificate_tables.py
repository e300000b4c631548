"""The noise that the paper's trainings needed, in words: stored tables, and rows of them computed once more."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.accounting.paper import DATASETS, PaperSetting, noise_needed
from dpcxr_core.accounting.remembered import remembered
from dpcxr_core.config import UserError
from dpcxr_core.provenance import PROJECT_FOLDER

_SETTING = [field.name for field in fields(PaperSetting)]
_CHOSEN = ["dataset", "privacy_unit", "expected_batch_size", "target_epsilon"]
# other versions of the libraries may lay other grids; the noise is that of a target reached to this share
_LARGEST_DIFFERENCE = 2e-3


def read_needed(folder: str | Path) -> pd.DataFrame:
    """The stored noise of every training: a row a data set, unit, batch size and target.

    Args:
        folder: Seen from the project where it is not absolute.

    Raises:
        UserError: The table is missing.
    """
    return _read(folder, "paper_certificates.csv", pd.read_csv)


def read_spending(folder: str | Path) -> pd.DataFrame:
    """What the published configuration spends by the epoch; arguments and errors as for ``read_needed``."""
    return _read(folder, "paper_configuration.csv", pd.read_csv)


def read_origin(folder: str | Path) -> dict[str, Any]:
    """Commit and versions of both tables; arguments and errors as for ``read_needed``."""
    return _read(folder, "paper_certificates.json", lambda path: json.loads(path.read_text()))


def show_training_sets() -> pd.DataFrame:
    """The paper's private training sets: images and patients, and where each number comes from."""
    rows = [
        {
            "data set": each.name,
            "training images": f"{each.n_images:,}",
            "from": each.images_from,
            "training patients": "not known" if each.n_patients is None else f"{each.n_patients:,}",
            "from, or why not": each.patients_from,
        }
        for each in DATASETS
    ]
    return pd.DataFrame(rows).set_index("data set")


def show_needed(needed: pd.DataFrame) -> pd.DataFrame:
    """Noise multipliers by PLD and by RDP: a row a training, two columns a target; unknown trainings say so."""
    targets = sorted(needed["target_epsilon"].unique())
    trainings = {key: rows for key, rows in needed.groupby(["dataset", "privacy_unit", "expected_batch_size"])}
    batches = sorted(needed["expected_batch_size"].unique())
    rows = []
    for dataset, unit in [(each.name, unit) for each in DATASETS for unit in ("image", "patient")]:
        found = [trainings[dataset, unit, batch] for batch in batches if (dataset, unit, batch) in trainings]
        rows += [_needed_row(of_one, targets) for of_one in found]
        if not found:
            rows.append({"data set": dataset, "unit": unit, "batch": "any"})
    return pd.DataFrame(rows).fillna("?").set_index(["data set", "unit", "batch"])


def _needed_row(training: pd.DataFrame, targets: Sequence[float]) -> dict[str, str]:
    """The row of one ``training``, which has a row a target."""
    first, by_target = training.iloc[0], training.set_index("target_epsilon")
    row = {
        "data set": str(first["dataset"]),
        "unit": str(first["privacy_unit"]),
        "batch": str(first["expected_batch_size"]),
        "sample rate": f"{first['sample_rate']:.4g}",
        "steps": f"{first['n_steps']:,}",
    }
    for epsilon in targets:
        row[f"{epsilon:g}, PLD"] = f"{by_target['noise_multiplier'][epsilon]:.3f}"
        row[f"{epsilon:g}, RDP"] = f"{by_target['noise_multiplier_rdp'][epsilon]:.3f}"
    return row


def show_accountants(needed: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """What each accountant makes of the noise that PLD found for ``dataset``, and the noise Opacus would return."""
    rows = needed[needed["dataset"] == dataset]
    if rows.empty:
        raise UserError(f"dataset must be one of {', '.join(needed['dataset'].unique())}; got {dataset!r}")
    table = pd.DataFrame(
        {
            "unit": rows["privacy_unit"],
            "batch": rows["expected_batch_size"],
            "target": rows["target_epsilon"].map("{:g}".format),
            "noise": rows["noise_multiplier"].map("{:.4f}".format),
            "epsilon, PLD": rows["epsilon_pld"].map("{:.4f}".format),
            "between, PRV": [
                "not computed" if math.isnan(high) else f"{low:.3f} and {high:.3f}"
                for low, high in rows[["epsilon_prv_low", "epsilon_prv"]].to_numpy(dtype=float)
            ],
            "epsilon, RDP": rows["epsilon_rdp"].map("{:.4f}".format),
            "noise, Opacus by RDP": rows["noise_multiplier_opacus"].map("{:.4f}".format),
        }
    )
    return table.set_index(["unit", "batch", "target"])


def recompute(needed: pd.DataFrame, chosen: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Rows of ``needed`` as stored and as computed now, side by side.

    Args:
        needed: As from ``read_needed``.
        chosen: Data set, privacy unit, batch size and target epsilon of each row.

    Raises:
        UserError: There is no such row, or noise differs by more than 0.2 %.
    """
    rows = []
    for values in chosen:
        stored = _row(needed, values)
        setting = PaperSetting(**{name: stored[name] for name in _SETTING})
        now = remembered("paper-row", asdict(setting), partial(noise_needed, setting))
        name = ", ".join(f"{value}" for value in values)
        for column in ("noise_multiplier", "noise_multiplier_rdp"):
            if abs(now[column] / stored[column] - 1) > _LARGEST_DIFFERENCE:
                raise UserError(
                    f"the stored {column} of {name} is {stored[column]}, but {now[column]} is found here; run "
                    "python -m benchmarks.paper_certificates again"
                )
        columns = ("noise_multiplier", "noise_multiplier_rdp", "epsilon_pld", "epsilon_rdp")
        for column in columns:
            rows.append({"training": name, "": column.replace("_", " "), "stored": stored[column], "now": now[column]})
    table = pd.DataFrame(rows, columns=["training", "", "stored", "now"]).set_index(["training", ""])
    return table.map("{:.4f}".format)


def needed_in_words(needed: pd.DataFrame) -> str:
    """How much more noise RDP asks for, and patients where images and patients are both known."""
    surplus = needed["noise_multiplier_rdp"] / needed["noise_multiplier"] - 1
    sentence = (
        f"Over all {len(needed)} trainings, RDP asks for {surplus.min():.1%} to {surplus.max():.1%} more noise than is "
        "needed."
    )
    both = needed.pivot_table(
        index=["dataset", "expected_batch_size", "target_epsilon"],
        columns="privacy_unit",
        values=["noise_multiplier", "n_steps"],
    )
    if {"image", "patient"} <= set(both.columns.get_level_values("privacy_unit")):
        both = both.dropna()
        ratio = both["noise_multiplier", "patient"] / both["noise_multiplier", "image"]
        fewer = both["n_steps", "image"] / both["n_steps", "patient"]
        names = " and ".join(ratio.index.get_level_values("dataset").unique())
        sentence += (
            f" On {names}, whose patients are known, protecting patients takes {ratio.min():.2f} to {ratio.max():.2f} "
            "times the noise of protecting images. These are trainings of as many epochs and of as many units a batch: "
            f"by patients there are {_span(fewer.min(), fewer.max())} times fewer steps, which by itself takes less "
            "noise. At the same number of steps the ratio would be larger."
        )
    return sentence


def _span(low: float, high: float) -> str:
    return f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"


def spending_in_words(spending: pd.DataFrame) -> str:
    """The least that the published configuration spends in its first epoch, and what follows for the lowest range.

    Over all data sets, batch sizes, ways to calibrate its noise; counted by PLD, which gives least.
    """
    first = spending[spending["epoch"] == 1]
    least = first.sort_values("epsilon_pld").iloc[0]
    verdict = (
        "so no epoch of it gives a model with an epsilon below 1. If the paper's models of the lowest range were "
        "trained as it says, it was with other settings than these. Which, is not known"
        if least["epsilon_pld"] > 1
        else "so its first epochs can give a model with an epsilon below 1"
    )
    return (
        f"After one epoch at least {least['epsilon_pld']:.2f} is spent ({least['dataset']}, batch "
        f"{least['expected_batch_size']}, noise calibrated by {least['calibrated_by']}), {verdict}."
    )


def _row(needed: pd.DataFrame, values: Sequence[Any]) -> dict[str, Any]:
    found = needed
    for column, value in zip(_CHOSEN, values, strict=True):
        found = found[found[column] == value]
    if len(found) != 1:
        raise UserError(
            f"the stored table has {len(found)} rows of {list(values)}; choose {', '.join(_CHOSEN)} from it"
        )
    return {str(key): value for key, value in json.loads(found.to_json(orient="records"))[0].items()}


def _read(folder: str | Path, name: str, reader: Any) -> Any:
    path = PROJECT_FOLDER / folder / name
    if not path.is_file():
        raise UserError(f"{path} is missing; run python -m benchmarks.paper_certificates")
    return reader(path)
