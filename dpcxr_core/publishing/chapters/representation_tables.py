"""Measures of representations as readers see them, in tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dpcxr_core.evaluation.representation.association import rank_associations
from dpcxr_core.publishing.results import level_name, level_names
from dpcxr_core.publishing.tables import wide, with_interval
from dpcxr_core.study.representations import BEFORE

_MEASURES = {
    "displacement": "displacement",
    "effective_dimension": "effective dimension",
    "effective_dimension_change": "change of effective dimension",
    "probe_auroc": "linear probe",
    "standardised_probe_auroc": "probe, features standardised",
    "end_to_end_auroc": "own head",
    "utilisation_gap": "utilisation gap",
    "standardised_utilisation_gap": "gap, features standardised",
}
_SIGNED = ("effective_dimension_change", "utilisation_gap", "standardised_utilisation_gap")
MODEL = ["init_label", "kind", "target_epsilon"]


def measure_name(measure: str) -> str:
    """A measure as a reader sees it."""
    return _MEASURES[measure]


def levels_of(table: pd.DataFrame) -> list[str]:
    """The levels in ``table`` in order: before training, epsilons ascending, without privacy."""
    models = table[["kind", "target_epsilon"]].drop_duplicates()
    models = models.assign(first=models["kind"] != BEFORE).sort_values(["first", "target_epsilon"])  # NaN last
    return level_names(models)


def with_levels(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` with a column ``level``, an ordered category; by initialisation as these occur, then by level."""
    levels = pd.Categorical(level_names(table), levels_of(table), ordered=True)
    labels = list(table["init_label"].unique())
    place = table["init_label"].map(labels.index)
    return table.assign(level=levels, place=place).sort_values(["place", "level"], kind="stable").drop(columns="place")


def show_measures(table: pd.DataFrame, measures: list[str]) -> pd.DataFrame:
    """One row a model, one column a measure, each value with its interval."""
    shown = with_levels(table[table["measure"].isin(measures)]).astype({"level": str})
    cells = [
        with_interval(row["value"], row["low"], row["high"], "+.3f" if row["measure"] in _SIGNED else ".3f")
        for row in shown.to_dict("records")
    ]
    by_model = wide(shown.assign(cell=cells), ["init_label", "level"], "measure")
    return by_model[measures].rename(columns=measure_name).fillna("-").rename_axis(["initialisation", "level"])


def associations(table: pd.DataFrame) -> pd.DataFrame:
    """``rank_associations`` of end-to-end AUROC with the other measures, over trained models."""
    trained = table[table["kind"] != BEFORE]
    models = trained.pivot(index=MODEL, columns="measure", values="value").reset_index()
    measures = ["utilisation_gap", "probe_auroc", "displacement", "effective_dimension"]
    return rank_associations(models, "end_to_end_auroc", measures, "init_label")


def show_associations(found: pd.DataFrame) -> pd.DataFrame:
    """Rank correlations with the AUROC of the own head: one row a set of models, one column a measure."""
    cells = [reason if reason else f"{rho:+.2f}" for rho, reason in zip(found["rho"], found["reason"], strict=True)]
    by_group = wide(found.assign(cell=cells), ["group", "n"], "measure")
    return by_group.rename(columns=measure_name).rename_axis(["initialisation", "models"])


def displacement_in_words(table: pd.DataFrame) -> str:
    """The least and the furthest displaced of the private models, beside the range of those without privacy."""
    moved = table[table["measure"] == "displacement"]
    private, free = moved[moved["kind"] == "private"], moved[moved["kind"] == "non_private"]
    if private.empty:
        return "No private model is among the runs."
    sentence = f"Private training moves {_named(private, 'idxmin')} least and {_named(private, 'idxmax')} most."
    if free.empty:
        return sentence
    return sentence + f" Without privacy the least displacement is {free['value'].min():.3f}."


def dimension_in_words(table: pd.DataFrame) -> str:
    """In how many private models the effective dimension fell, and in how many it rose, for certain."""
    change = table[(table["measure"] == "effective_dimension_change") & (table["kind"] == "private")]
    change = change.dropna(subset="value")
    if change.empty:
        return "No change of effective dimension of a private model can be measured on these images."
    fell, rose = int((change["high"] < 0).sum()), int((change["low"] > 0).sum())
    return (
        f"Of {len(change)} private models, {fell} use fewer directions than their initialisation and {rose} use more; "
        f"for {len(change) - fell - rose} the interval of the change holds zero."
    )


def gap_in_words(table: pd.DataFrame) -> str:
    """How many utilisation gaps of private models are above zero, the largest of them, and those without privacy."""
    gaps = table[table["measure"] == "utilisation_gap"].dropna(subset="value")
    private, free = gaps[gaps["kind"] == "private"], gaps[gaps["kind"] == "non_private"]
    if private.empty:
        return "No utilisation gap of a private model can be measured on these images."
    above, below = int((private["low"] > 0).sum()), int((private["high"] < 0).sum())
    sentence = (
        f"Of {len(private)} utilisation gaps of private models, {above} have an interval above zero and {below} one "
        f"below it; the largest is that of {_named(private, 'idxmax', '+.3f')}."
    )
    if free.empty:
        return sentence
    return sentence + f" Without privacy the gap runs from {free['value'].min():+.3f} to {free['value'].max():+.3f}."


def probe_in_words(table: pd.DataFrame) -> str:
    """How much more a probe of standardised features reads than the published one, over all models."""
    models = table.pivot(index=MODEL, columns="measure", values="value")
    more = (models["standardised_probe_auroc"] - models["probe_auroc"]).dropna()
    if more.empty:
        return "No probe can be measured on these images."
    return (
        f"With standardised features the probe's AUROC changes by {more.min():+.3f} to {more.max():+.3f}, so that the "
        "size of a utilisation gap is as much a choice of the probe as a property of the model."
    )


def _named(rows: pd.DataFrame, which: str, form: str = ".3f") -> str:
    row: Mapping = rows.loc[getattr(rows["value"], which)()]
    interval = with_interval(row["value"], row["low"], row["high"], form)
    return f"*{row['init_label']}* at {level_name(row['target_epsilon'], row['kind'])} ({interval})"
