"""Tables as readers see them: the right rows, in words, with small cells suppressed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from dpcxr_core.accounting.certificate import PrivacyCertificate
from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.comparing.seeds import over_seeds
from dpcxr_core.evaluation.groups import suppress_small
from dpcxr_core.publishing.results import CONDITION, epsilons_of, level_name, metrics_with_runs

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_CERTIFICATE_COLUMNS = {
    "target_epsilon": "target epsilon",
    "noise_multiplier": "noise multiplier",
    "epsilon_pld": "epsilon (PLD, the claim)",
    "epsilon_prv_low": "epsilon is at least (PRV)",
    "epsilon_prv": "epsilon is at most (PRV)",
    "epsilon_rdp": "epsilon (RDP)",
    "delta": "delta",
    "sample_rate": "sample rate",
    "n_steps": "steps",
    "expected_passes": "expected passes",
    "expected_batch_size": "expected batch size",
    "max_grad_norm": "clip norm",
    "clipping": "clipping",
    "privacy_unit": "privacy unit",
    "n_units": "privacy units, declared",
    "delta_times_units": "delta times privacy units",
    "max_images_per_patient": "images of one patient in one step",
}


def show_certificates(certificates: Iterable[PrivacyCertificate]) -> pd.DataFrame:
    """One column a certificate, one row a number that its guarantee rests on."""
    columns = [
        {words: _short(getattr(each, name)) for name, words in _CERTIFICATE_COLUMNS.items()}
        | ({} if each.max_images_per_patient else {_CERTIFICATE_COLUMNS["max_images_per_patient"]: "any number"})
        for each in certificates
    ]
    return pd.DataFrame(columns).set_index("target epsilon").T


def show_noise_by_unit(
    noise: Mapping[str, Mapping[float, float]], n_units: Mapping[str, int], expected_batch_size: int
) -> pd.DataFrame:
    """One row a privacy unit: how many there are, their sample rate, and the noise multiplier of every epsilon.

    Args:
        noise: Noise multipliers by privacy unit and target epsilon.
        n_units: Size of the training set by privacy unit.
        expected_batch_size: In units, the same for every row.
    """
    rows = {
        unit: {
            "in the training set": f"{n_units[unit]:,}",
            "sample rate": _short(expected_batch_size / n_units[unit]),
            **{f"noise multiplier, epsilon {epsilon:g}": _short(each) for epsilon, each in by_epsilon.items()},
        }
        for unit, by_epsilon in noise.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("privacy unit")


def epsilon_by_accountant(certificates: Iterable[PrivacyCertificate]) -> pd.DataFrame:
    """``noise_multiplier epsilon accountant``: what each accountant makes of the same noise."""
    rows = [
        {"noise_multiplier": each.noise_multiplier, "epsilon": epsilon, "accountant": name}
        for each in certificates
        for name, epsilon in (("PLD", each.epsilon_pld), ("RDP", each.epsilon_rdp), ("PRV", each.epsilon_prv))
        if epsilon is not None
    ]
    return pd.DataFrame(rows)


def show_checks(checks: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a check of the privacy engine: what was measured, and the limit it had to stay within."""
    table = pd.DataFrame(checks)
    table["passed"] = table["passed"].map({True: "yes", False: "NO"})
    return table.map(_short).set_index("name")


def conditions(metrics: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Metrics of every condition (initialisation, level of privacy), brought together over seeds."""
    return over_seeds(metrics_with_runs(metrics, runs), by=CONDITION)


def of_metric(
    table: pd.DataFrame, dataset: str, names: Sequence[str], finding: str, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Rows of the metrics ``names`` on ``dataset``, of one finding and, where given, of these group columns."""
    chosen = (table["dataset"] == dataset) & table["metric"].isin(names) & (table["finding"] == finding)
    if columns is not None:
        chosen &= table["group_column"].isin(columns)
    return table[chosen].reset_index(drop=True)


def one_metric(table: pd.DataFrame, dataset: str, metric: str, *, finding: str = MACRO) -> pd.DataFrame:
    """The rows of ``table`` about one metric of one test set and finding, of all patients."""
    return of_metric(table, dataset, [metric], finding, ["all"])


def auroc_by_finding(metrics: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """AUROC of one run on ``dataset``, a row a finding, with interval, counts and reason."""
    rows = metrics[
        (metrics["dataset"] == dataset) & (metrics["metric"] == "auroc") & (metrics["group_column"] == "all")
    ]
    return pd.DataFrame(
        {
            "AUROC": with_intervals(rows),
            "images": rows["n"].map(suppress_small).to_list(),
            "positive": rows["n_positive"].map(suppress_small).to_list(),
            "note": rows["reason"].to_list(),
        },
        index=pd.Index(rows["finding"].str.replace("_", " "), name="finding"),
    )


def auroc_by_level(macro: pd.DataFrame) -> pd.DataFrame:
    """Mean AUROC over seeds with the seeds' least and greatest: rows initialisations, columns levels of privacy."""
    trained = macro[macro["kind"] != "public_only"]
    cells = trained.assign(
        level=trained["target_epsilon"].map(level_name),
        cell=[_with_seeds(row) for row in trained.itertuples()],
    )
    return _by_level(cells)


def show_cost(cost: pd.DataFrame) -> pd.DataFrame:
    """AUROC lost to privacy in words: one row an initialisation, one column a level of privacy.

    Args:
        cost: From ``claims.cost_of_privacy``.
    """
    named = cost.assign(
        level=cost["target_epsilon"].map(level_name), cell=with_intervals(with_seeds_where_known(cost), "+.3f")
    )
    return _by_level(named)


def show_precision(precision: pd.DataFrame) -> pd.DataFrame:
    """Counts with small ones suppressed, and the standard error each finding's AUROC would have."""
    return pd.DataFrame(
        {
            "positive images": precision["positive"].map(suppress_small),
            "negative images": precision["negative"].map(suppress_small),
            "standard error": precision["standard error"].map(_short),
        }
    ).rename(index=lambda finding: finding.replace("_", " "))


def show_differences(differences: pd.DataFrame) -> pd.DataFrame:
    """Differences of AUROC in words: one row a pair and level, with interval, adjusted p and verdict.

    Args:
        differences: From ``claims``: by ``claim`` or ``init_label``, and ``target_epsilon``.
    """
    first = "claim" if "claim" in differences else "init_label"
    return pd.DataFrame(
        {
            first.replace("init_label", "initialisation"): differences[first],
            "level": differences["target_epsilon"].map(level_name),
            "difference in macro AUROC": with_intervals(with_seeds_where_known(differences), "+.3f"),
            "p, adjusted": differences["p_adjusted"].map(show_p),
            "verdict": differences["verdict"],
        }
    ).set_index([first.replace("init_label", "initialisation"), "level"])


def show_p(p: float) -> str:
    """A p in words: never 0.

    Example:
        >>> show_p(0.0312), show_p(0.0001), show_p(float("nan"))
        ('0.031', 'below 0.001', 'no test')
    """
    if math.isnan(p):
        return "no test"
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def spending(runs: pd.DataFrame) -> pd.DataFrame:
    """Private runs by target epsilon: how many, with which noise, and the epsilon each of them spent."""
    private = runs[runs["kind"] == "private"]
    return private.groupby("target_epsilon").agg(
        runs=("run_id", "size"),
        noise_multiplier=("noise_multiplier", "first"),
        epsilon_spent=("epsilon_spent", "max"),
    )


def show_choices(choice: DataclassInstance) -> pd.DataFrame:
    """The fields of a frozen choice, one a row; a choice within a choice shows its own fields."""
    flat: dict[str, str] = {}
    for name, value in asdict(choice).items():
        nested = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{name}.{inner}".rstrip("."): _short(each) if each is not None else "none" for inner, each in nested}
    return two_columns(flat, "choice", "value")


def two_columns(values: Mapping[str, Any], first: str, second: str) -> pd.DataFrame:
    """``values`` as a table of two named columns."""
    return pd.DataFrame({second: pd.Series(dict(values))}).rename_axis(first)


def show_number(value: float, form: str = ".3f") -> str:
    """``value`` as ``form`` says, or "undefined" where there is none."""
    return "undefined" if math.isnan(value) else f"{value:{form}}"


def with_interval(value: float, low: float, high: float, form: str = ".3f", *, if_nan: str = "undefined") -> str:
    """``value [low, high]``, each as ``form`` says; the value alone without an interval, ``if_nan`` without a value."""
    if math.isnan(value):
        return if_nan
    return f"{value:{form}}" if math.isnan(low) else f"{value:{form}} [{low:{form}}, {high:{form}}]"


def with_intervals(rows: pd.DataFrame, form: str = ".3f") -> list[str]:
    """``with_interval`` of every row's ``value``, ``low`` and ``high``."""
    numbers = rows[["value", "low", "high"]].to_numpy(float)
    return [with_interval(value, low, high, form) for value, low, high in numbers]


def with_seeds_where_known(contrasts: pd.DataFrame) -> pd.DataFrame:
    """``contrasts`` whose ``low`` and ``high`` tell of other patients and other seeds; with one seed, of patients."""
    widened = contrasts.rename(columns={"low_with_seeds": "wide_low", "high_with_seeds": "wide_high"})
    return widened.assign(
        low=widened["wide_low"].fillna(widened["low"]), high=widened["wide_high"].fillna(widened["high"])
    )


def wide(table: pd.DataFrame, rows: Sequence[str], columns: str) -> pd.DataFrame:
    """The column ``cell`` of ``table``: a row for each of ``rows`` and a column for each of ``columns``, as they occur.

    Raises:
        UserError: Several of its rows would share a cell.
    """
    by = list(rows)
    twice = table[table.duplicated([*by, columns], keep=False)]
    if len(twice):
        raise UserError(
            f"{len(twice)} values would share cells of this table, such as {twice.iloc[0][[*by, columns]].tolist()}: "
            "they differ in what it does not name, such as architecture, privacy unit or training data. Tell the runs "
            "apart in init_label, or show one kind at a time."
        )
    order = table.drop_duplicates(by).set_index(by).index
    cells = table.pivot(index=by, columns=columns, values="cell")
    return cells.reindex(index=order, columns=table[columns].unique()).rename_axis(columns=None)


def _by_level(table: pd.DataFrame) -> pd.DataFrame:
    """One row an initialisation, one column a level of privacy."""
    levels = [level_name(epsilon) for epsilon in epsilons_of(table)]
    return wide(table, ["init_label"], "level")[levels].fillna("not run").rename_axis("initialisation")


def _with_seeds(row: Any) -> str:
    if math.isnan(row.value):
        return "undefined"
    return f"{row.value:.3f}" if row.n_seeds == 1 else f"{row.value:.3f} ({row.seed_min:.3f} to {row.seed_max:.3f})"


def _short(value: Any) -> str:
    if value is None:
        return "not computed"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
