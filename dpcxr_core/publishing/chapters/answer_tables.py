"""What the cells of a study say, as readers see it: rows named by what tells them apart, verdicts, contrasts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import Any

import pandas as pd

from dpcxr_core.publishing.results import level_name
from dpcxr_core.publishing.tables import show_p, with_intervals, with_seeds_where_known
from dpcxr_core.study.claim_contrasts import REGIME
from dpcxr_core.study.verdicts import CLAIMS, MISSING, UNMEASURABLE

_TITLE_WIDTH = 72
_RULES = {
    "everywhere": "every contrast in favour",
    "somewhere": "one in favour, none against, in each part",
    "either way": "one differs from zero, in each part",
}


def level_of(target_epsilon: float) -> str:
    """The level of privacy of a cell, whose epsilon is infinity without privacy.

    Example:
        >>> level_of(8.0), level_of(math.inf)
        ('epsilon 8', 'no privacy')
    """
    return level_name(math.nan if math.isinf(target_epsilon) else target_epsilon)


_WORDS: Mapping[str, Callable[[Any], str]] = {
    "dataset": str,
    "architecture": str,
    "initialisation": str,
    "head": lambda head: {"kept": "head kept", "reset": "new head"}[head],
    "unit": lambda unit: f"{unit} as unit",
    "fraction": lambda fraction: f"{fraction:.0%} of the patients",
    "target_epsilon": level_of,
}


def names_of(rows: pd.DataFrame, columns: Sequence[str] = REGIME) -> list[str]:
    """What each row is of, in words: the values of those ``columns`` in which rows differ, or else of the last one.

    Example:
        >>> names_of(pd.DataFrame({"fraction": [0.5, 1.0], "unit": "image"}), ["fraction", "unit"])
        ['50% of the patients', '100% of the patients']
    """
    named = [name for name in columns if rows[name].nunique(dropna=False) > 1] or list(columns)[-1:]
    return [
        ", ".join(_WORDS[name](row[name]) for name in named if not pd.isna(row[name])) or "no run"
        for row in rows[named].to_dict("records")
    ]


def names_within(rows: pd.DataFrame, by: str | list[str]) -> list[str]:
    """``names_of`` each row among those that share its value of ``by``, which is told elsewhere."""
    known = [name for name in REGIME if name in rows]
    groups = [group for _, group in rows.groupby(by, sort=False, dropna=False)]
    named = {place: name for group in groups for place, name in zip(group.index, names_of(group, known), strict=True)}
    return [named[place] for place in rows.index]


def show_contrasts(table: pd.DataFrame, by: Mapping[str, Sequence[str]], value: str) -> pd.DataFrame:
    """One row a contrast: value with the interval over other patients and seeds, seeds, adjusted p, verdict.

    Args:
        table: With the columns of ``paired.table_over_seeds``, ``p_adjusted`` and ``verdict``.
        by: What names the rows, by the name of the column.
        value: What ``table["value"]`` is.
    """
    shown = {
        **by,
        value: with_intervals(with_seeds_where_known(table), "+.3f"),
        "seeds": table["n_seeds"].to_list(),
        "p (Holm)": [show_p(p) for p in table["p_adjusted"]],
        "verdict": table["verdict"].to_list(),
    }
    return pd.DataFrame(shown).set_index(list(by))


def show_verdicts(verdicts: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: what the paper says, where that is known from, and the verdict."""
    columns = {"of the paper": verdicts["text"], "known from": verdicts["source"]}
    return _by_claim(verdicts, columns | {"verdict": in_words(verdicts["verdict"])})


def show_tests_of_claims(verdicts: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: its test, what that needs, and the numbers of contrasts that the verdict rests on."""
    counts = {"in favour": "n_in_favour", "against": "n_against", "missing": "n_missing"}
    counts |= {"not measurable": "n_unmeasurable"}
    columns = {"test": verdicts["test"], "needs": verdicts["rule"].map(_RULES), "contrasts": verdicts["n_contrasts"]}
    return _by_claim(verdicts, columns | {words: verdicts[name] for words, name in counts.items()})


def _by_claim(verdicts: pd.DataFrame, columns: Mapping[str, Sequence[Any] | pd.Series]) -> pd.DataFrame:
    return pd.DataFrame({"claim": verdicts["claim"], **columns}).set_index("claim")


def show_claim(claims: pd.DataFrame, number: int) -> pd.DataFrame:
    """The contrasts of one claim, those that are missing or cannot be measured among them with the reason."""
    rows = claims[claims["claim"] == number]
    verdicts = [
        f"{verdict}: {reason}" if verdict in (MISSING, UNMEASURABLE) else verdict
        for verdict, reason in zip(rows["verdict"], in_words(rows["reason"]), strict=True)
    ]
    by = {"contrast": in_words(rows["contrast"]), "where": names_within(rows, "contrast")}
    return show_contrasts(rows.assign(verdict=verdicts), by, "value")


def claim_rows(claims: pd.DataFrame, numbers: Sequence[int], dataset: str) -> pd.DataFrame:
    """Rows of a forest: the contrasts of some claims in the regimes of one data set, a panel a claim."""
    here = (claims["dataset"] == dataset) | claims["dataset"].isna()
    rows = claims[claims["claim"].isin(numbers) & here]
    tests = {claim.number: fill(f"Claim {claim.number}: {claim.test}", _TITLE_WIDTH) for claim in CLAIMS}
    name = names_within(rows, ["claim", "contrast"])
    words = {"heading": in_words(rows["contrast"]), "reason": in_words(rows["reason"])}
    return rows.assign(panel=rows["claim"].map(tests), name=name, **words)


def private_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a forest: conditions of an initialisation against its own public-only model, by whether its head is kept.

    Args:
        table: From ``private_data.against_public_only``.
    """
    own = table[table["initialisation"] == table["public_only"]]
    panels = [f"starting from {name}" for name in own["initialisation"]]
    name = names_within(own, ["initialisation", "head"])
    return own.assign(panel=panels, heading=names_of(own, ["head"]), name=name)


def gain_rows(gains: pd.DataFrame, beside: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Rows of a forest: what each initialisation gains, and below it how much more than the ``reference`` does.

    Args:
        gains: From ``scaling.gains_with_data`` or ``gains_with_capacity``.
        beside: From the same with ``reference``.
        reference: An initialisation.
    """
    panels = {"gain": gains, f"gain, less that of {reference}": beside}
    rows = pd.concat([table.assign(panel=title) for title, table in panels.items()], ignore_index=True)
    if not rows.duplicated(["panel", "initialisation"]).any():  # a single regime
        return rows.assign(heading="", name=rows["initialisation"])
    return rows.assign(heading=rows["initialisation"], name=names_within(rows, ["panel", "initialisation"]))


def show_gains(gains: pd.DataFrame, value: str) -> pd.DataFrame:
    """One row an initialisation and regime: what it gains, over which shares or networks."""
    by = {"initialisation": gains["initialisation"].to_list(), "where": names_within(gains, "initialisation")}
    return show_contrasts(gains, {**by, "over": gains["over"].to_list()}, value)


def ablation_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a forest: the cells of each ablation against their main cells; a heading says what differs.

    Args:
        table: From ``ablating.ablations_table``.
    """
    headings = [f"{name} ({words})" for name, words in zip(table["ablation"], _what_differs(table), strict=True)]
    return table.assign(panel="", heading=headings, name=_ablated(table))


def show_ablated(table: pd.DataFrame) -> pd.DataFrame:
    """One row a cell of an ablation: what differs from its main cell, and how its AUROC does."""
    by = {"ablation": table["ablation"].to_list(), "differs in": _what_differs(table), "where": _ablated(table)}
    return show_contrasts(table, by, "macro AUROC gained")


def show_without_main_cell(table: pd.DataFrame) -> pd.DataFrame:
    """One row a condition of ``ablating.without_main_cell``: its AUROC, as there is nothing to subtract."""
    by = {"ablation": table["ablation"].to_list(), "where": _ablated(table)}
    values = {"macro AUROC": with_intervals(with_seeds_where_known(table)), "seeds": table["n_seeds"].to_list()}
    return pd.DataFrame({**by, **values, "main cell": "none at its epsilon"}).set_index(list(by))


def _ablated(table: pd.DataFrame) -> list[str]:
    where = names_within(table, "ablation")
    return [f"{name}, {regime}" for name, regime in zip(table["initialisation"], where, strict=True)]


def _what_differs(table: pd.DataFrame) -> list[str]:
    return in_words(table["differs_in"].str.replace(r"\b(mechanism|recipe)\.", "", regex=True))


def show_private(table: pd.DataFrame) -> pd.DataFrame:
    """One row a condition trained on private images: how it stands against a public-only model."""
    by = {
        "public-only model of": table["public_only"].to_list(),
        "trained from": names_of(table, ["head", "initialisation"]),
        "where": names_within(table, ["public_only", "initialisation", "head"]),
    }
    return show_contrasts(table, by, "macro AUROC gained")


def in_words(names: pd.Series) -> list[str]:
    """Names of roles, metrics and settings as sentences have them."""
    spelt = {"self_supervised": "self-supervised", "auroc": "AUROC", "tpr": "TPR", "_": " "}
    for name, words in spelt.items():
        names = names.str.replace(name, words)
    return names.to_list()
