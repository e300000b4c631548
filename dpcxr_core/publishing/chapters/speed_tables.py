"""What ``make bench`` measured, summarised: medians with ranges, ratios by round, who is right."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.publishing.tables import two_columns

MACHINE_FILE = "machine.json"
STOCK = "ordinary"
OURS = "ours, with noise"
OURS_PATIENTS = "ours, patients, with noise"
# Rounding, and what Opacus adds to a norm before dividing by it, stay below this; the mistakes found lie far above.
LARGEST_ROUNDING_ERROR = 1e-4
_SETTING = ["architecture", "size", "batch"]
_CSV = ("step_times", "step_facts", "memory", "growth", "noise", "loading")


@dataclass(frozen=True)
class SpeedResults:
    """The files of one run of the benchmark.

    Attributes:
        step_times: ``architecture size batch method round seconds``, one step a row.
        step_facts: ``architecture size batch method kind noisy relative_error failure``, one method a row; the error
            is that of the gradient sum before noise, against single images in float64.
        memory: ``architecture size batch method kind peak_bytes failure``; bytes above model and images.
        growth: ``sweep architecture size batch physical_batch n_parameters method round seconds peak_bytes``.
        noise: ``generator round seconds n``; seconds for n numbers.
        loading: ``architecture size batch round seconds``; seconds a batch.
        machine: Where, when, how, and the versions.
    """

    step_times: pd.DataFrame
    step_facts: pd.DataFrame
    memory: pd.DataFrame
    growth: pd.DataFrame
    noise: pd.DataFrame
    loading: pd.DataFrame
    machine: Mapping[str, Any]


def read_results(folder: str | Path) -> SpeedResults:
    """The results in ``folder``, which is seen from the project where it is not absolute.

    Raises:
        UserError: A file is missing, or the machine's does not vouch for it: the benchmark was not run, or did not
            finish.
    """
    path = PROJECT_FOLDER / folder
    machine = json.loads((path / MACHINE_FILE).read_text()) if (path / MACHINE_FILE).is_file() else None
    vouched = _CSV if machine is None else machine.get("files", _CSV)
    missing = [f"{name}.csv" for name in _CSV if name not in vouched or not (path / f"{name}.csv").is_file()]
    missing += [MACHINE_FILE] if machine is None else []
    if machine is None or missing:
        raise UserError(
            f"{folder} holds no finished benchmark: no {', '.join(missing)}. Run make bench, or for a first look "
            "python -m benchmarks --quick, which says where it writes"
        )
    # a column of empty reasons would be read as numbers
    tables = {name: pd.read_csv(path / f"{name}.csv", dtype={"failure": str}).fillna({"failure": ""}) for name in _CSV}
    return SpeedResults(**tables, machine=machine)


def best_ordinary(times: pd.DataFrame, facts: pd.DataFrame) -> str:
    """The method without privacy whose median step is shortest, in ``times`` of one setting."""
    ordinary = set(facts.loc[facts["kind"] == "ordinary", "method"])
    medians = times[times["method"].isin(ordinary)].groupby("method")["seconds"].median()
    if medians.empty:
        raise UserError(f"no method without privacy was measured; there are {sorted(set(times['method']))}")
    return str(medians.idxmin())


def ratios_by_round(times: pd.DataFrame, method: str, to: str) -> pd.Series:
    """Seconds of ``method`` over those of ``to``, in each round that has both; ``times`` of one setting."""
    wide = times.pivot(index="round", columns="method", values="seconds")
    return (wide[method] / wide[to]).dropna()


def step_costs(results: SpeedResults) -> pd.DataFrame:
    """One row a setting and method, in the order measured.

    Columns besides those of the setting: ``method kind relative_error correct failure``; ``seconds`` (median),
    ``least`` and ``most`` over ``n_rounds``; ``ratio`` to the best method without privacy (the median of the ratios
    of rounds), ``ratio_low`` and ``ratio_high``, their range; ``best``, whether it is that best one;
    ``peak_bytes`` and ``memory_ratio``, to the ordinary step as it comes. NaN where nothing was measured.
    """
    rows = []
    for setting, facts in results.step_facts.groupby(_SETTING, sort=False):
        times, memory = _of(results.step_times, setting), _of(results.memory, setting).set_index("method")["peak_bytes"]
        best = best_ordinary(times, facts)
        for fact in facts.to_dict("records"):
            name = fact["method"]
            peak = memory.get(name, np.nan)
            row = fact | {"correct": fact["relative_error"] <= LARGEST_ROUNDING_ERROR, "best": name == best}
            row |= {"peak_bytes": peak, "memory_ratio": peak / memory.get(STOCK, np.nan)}
            rows.append(row | _timed(times, name, best))
    return pd.DataFrame(rows).assign(setting=lambda table: [_setting_name(row) for row in table.to_dict("records")])


def _timed(times: pd.DataFrame, method: str, best: str) -> dict[str, float]:
    seconds = times.loc[times["method"] == method, "seconds"]
    ratios = ratios_by_round(times, method, best) if len(seconds) else seconds
    return {
        "seconds": seconds.median(),
        "least": seconds.min(),
        "most": seconds.max(),
        "n_rounds": len(seconds),
        "ratio": ratios.median(),
        "ratio_low": ratios.min(),
        "ratio_high": ratios.max(),
    }


def comparisons(results: SpeedResults) -> pd.DataFrame:
    """One row a setting: ours beside the fastest *correct* method of Opacus, and the patient beside the image.

    Columns ``setting``, ``opacus`` (which method; empty where none is correct), ``opacus_over_ours`` and
    ``patient_over_image``: medians of the ratios of rounds.
    """
    rows = []
    for setting, costs in step_costs(results).groupby("setting", sort=False):
        times = _of(results.step_times, tuple(costs.iloc[0][_SETTING]))
        right = costs[(costs["kind"] == "Opacus") & costs["correct"] & costs["seconds"].notna()]
        fastest = str(right.sort_values("seconds")["method"].iloc[0]) if len(right) else ""
        rows.append(
            {
                "setting": setting,
                "opacus": fastest,
                "opacus_over_ours": ratios_by_round(times, fastest, OURS).median() if fastest else np.nan,
                "patient_over_image": ratios_by_round(times, OURS_PATIENTS, OURS).median(),
            }
        )
    return pd.DataFrame(rows)


def growth_points(results: SpeedResults) -> pd.DataFrame:
    """``sweep batch n_parameters method seconds least most peak_bytes``, medians over rounds, a row a point."""
    keys = ["sweep", "architecture", "batch", "n_parameters", "method"]
    points = results.growth.groupby(keys, sort=False).agg(
        seconds=("seconds", "median"),
        least=("seconds", "min"),
        most=("seconds", "max"),
        peak_bytes=("peak_bytes", "first"),
    )
    return points.reset_index()


def loading_shares(results: SpeedResults) -> pd.DataFrame:
    """A row a setting: ``images_per_second`` from the store; ``share`` of loading in loading and a private step."""
    rows = []
    for setting, loading in results.loading.groupby(_SETTING, sort=False):
        times = _of(results.step_times, setting)
        step = times.loc[times["method"] == OURS, "seconds"].median()
        load, images = loading["seconds"].median(), loading["batch"].iloc[0]
        name = _setting_name(loading.iloc[0].to_dict())
        rows.append({"setting": name, "images_per_second": images / load, "share": load / (load + step)})
    return pd.DataFrame(rows)


def show_machine(results: SpeedResults) -> pd.DataFrame:
    """Where, when and how it was measured, with the versions, and each file's own date and commit, one a row."""
    machine = dict(results.machine)
    found, files = machine.pop("versions"), machine.pop("files", {})
    dated = {f"{name}.csv": f"{file['date']}, {file['commit']}" for name, file in files.items()}
    return two_columns(machine | found | dated, "measured", "value")


def show_ratios(costs: pd.DataFrame) -> pd.DataFrame:
    """Time over that of the best step without privacy: a row a method, a column a setting."""
    return _wide(costs, [_ranged(1, row, ("ratio", "ratio_low", "ratio_high"), ".2f") for row in _rows(costs)])


def show_errors(costs: pd.DataFrame) -> pd.DataFrame:
    """Relative errors of the sum of gradients, and which are wrong: a row a method, a column a setting."""
    cells = [f"{row['relative_error']:.0e}{'' if row['correct'] else ' WRONG'}" for row in _rows(costs)]
    return _wide(costs, cells)


def show_memory(costs: pd.DataFrame) -> pd.DataFrame:
    """Megabytes above model and images, and beside the ordinary step; a column a setting that was measured."""
    found = costs[costs.groupby("setting")["peak_bytes"].transform("count") > 0]
    cells = [
        f"{row['peak_bytes'] / 1e6:.0f} MB ({row['memory_ratio']:.2f})" if row["peak_bytes"] > 0 else "not measured"
        for row in _rows(found)
    ]
    return _wide(found, cells)


def _rows(costs: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return costs.to_dict("records")


def _wide(costs: pd.DataFrame, cells: list[str]) -> pd.DataFrame:
    told = ["failed" if row["failure"] else cell for row, cell in zip(_rows(costs), cells, strict=True)]
    short = costs.assign(cell=told, method=costs["method"].map(short_name))
    wide = short.pivot(index="method", columns="setting", values="cell").fillna("not measured")
    return wide.reindex(index=short["method"].unique(), columns=short["setting"].unique()).rename_axis(columns=None)


def short_name(method: str) -> str:
    """``method`` without what all private methods but one have in common."""
    return method.removesuffix(", with noise")


def show_milliseconds(costs: pd.DataFrame) -> pd.DataFrame:
    """A row a setting: the best step without privacy and ours, in milliseconds, and how many rounds were taken."""
    shown = {}
    for setting, rows in costs.groupby("setting", sort=False):
        best, ours = (rows[chosen].iloc[0].to_dict() for chosen in (rows["best"], rows["method"] == OURS))
        names = ("seconds", "least", "most")
        shown[setting] = {
            "best without privacy": best["method"],
            "its milliseconds": _ranged(1e3, best, names, ".0f"),
            "ours with noise": _ranged(1e3, ours, names, ".0f"),
            "rounds": ours["n_rounds"],
            "rounds of Opacus": rows.loc[rows["kind"] == "Opacus", "n_rounds"].max(),
        }
    return pd.DataFrame.from_dict(shown, orient="index").rename_axis("setting")


def failures(costs: pd.DataFrame) -> str:
    """Which methods failed where, and with which message, in a sentence."""
    failed = costs[costs["failure"] != ""]
    if failed.empty:
        return "No method failed."
    parts = [
        f"{' and '.join(short_name(name) for name in rows['method'])} with {setting} ({failure})"
        for (setting, failure), rows in failed.groupby(["setting", "failure"], sort=False)
    ]
    return f"Failed: {'; '.join(parts)}."


def show_comparisons(table: pd.DataFrame) -> pd.DataFrame:
    """``comparisons`` in words."""
    shown = pd.DataFrame(
        {
            "fastest correct method of Opacus": table["opacus"].replace("", "none is correct"),
            "its time over ours": table["opacus_over_ours"].map(lambda ratio: or_missing(ratio, ".2f")),
            "patient unit over image unit": table["patient_over_image"].map(lambda ratio: or_missing(ratio, ".2f")),
        }
    )
    return shown.set_index(table["setting"])


def show_growth(points: pd.DataFrame) -> pd.DataFrame:
    """``growth_points`` in words: rows sweeps and their points, columns methods, with milliseconds and megabytes."""
    cells = [
        f"{_ranged(1e3, row, ('seconds', 'least', 'most'), '.0f')} ms, {or_missing(row['peak_bytes'] / 1e6, '.0f')} MB"
        for row in points.to_dict("records")
    ]
    parameters = [f"{n / 1e6:.1f} M" for n in points["n_parameters"]]
    index = ["sweep", "architecture", "parameters", "batch"]
    wide = points.assign(cell=cells, parameters=parameters).pivot(index=index, columns="method", values="cell")
    order = points.assign(parameters=parameters)[index].drop_duplicates()
    return wide.reindex(index=pd.MultiIndex.from_frame(order), columns=list(dict.fromkeys(points["method"])))


def show_noise(results: SpeedResults) -> pd.DataFrame:
    """Milliseconds that each generator takes for a million standard normal numbers, median and range."""
    per_million = results.noise.assign(ms=1e3 * results.noise["seconds"] / (results.noise["n"] / 1e6))
    found = per_million.groupby("generator", sort=False)["ms"].agg(["median", "min", "max"])
    cells = [_ranged(1, row, ("median", "min", "max"), ".1f") for row in found.to_dict("records")]
    return pd.DataFrame({"milliseconds per million": cells}, index=found.index)


def show_loading(results: SpeedResults) -> pd.DataFrame:
    """``loading_shares`` in words."""
    table = loading_shares(results)
    shown = {
        "images a second": table["images_per_second"].map("{:,.0f}".format),
        "share of a step": table["share"].map("{:.2%}".format),
    }
    return pd.DataFrame(shown).set_index(table["setting"])


def _of(table: pd.DataFrame, setting: Any) -> pd.DataFrame:
    chosen = np.logical_and.reduce(
        [table[name] == value for name, value in zip(_SETTING, setting, strict=True)], axis=0
    )
    return table[chosen]


def _setting_name(row: Mapping[Any, Any]) -> str:
    return f"{row['architecture']}, {row['size']} px, batch {row['batch']}"


def _ranged(factor: float, row: Mapping[Any, Any], names: tuple[str, str, str], form: str) -> str:
    value, low, high = (factor * row[name] for name in names)
    if np.isnan(value):
        return "not measured"
    # one round has no range, and what is compared to itself has none either
    return f"{value:{form}}" if low == high else f"{value:{form}} [{low:{form}}, {high:{form}}]"


def or_missing(value: float, form: str) -> str:
    """``value`` in the format ``form``, or that there is none."""
    return "not measured" if np.isnan(value) else f"{value:{form}}"
