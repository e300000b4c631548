"""The published matrix of the sister study and ours, as readers see them."""

from __future__ import annotations

import pandas as pd

from dpcxr_core.evaluation.comparing.multiplicity import holm
from dpcxr_core.evaluation.comparing.paired import LEVEL
from dpcxr_core.publishing.chapters.answer_tables import level_of, names_of
from dpcxr_core.publishing.tables import show_number, show_p, two_columns


def published_maps(published: pd.DataFrame) -> pd.DataFrame:
    """``sister.published_matrix`` as the heat maps of ``plot_transfer_by_finding`` take it, one a level of privacy."""
    return published.assign(finding=published["level"], value=published["auroc"], note="")


def our_maps(ours: pd.DataFrame) -> pd.DataFrame:
    """``sister.our_matrix`` in the same way, one map a network and level of privacy."""
    return ours.assign(finding=names_of(ours, ["architecture", "target_epsilon"]), note="")


def show_published_drops(drops: pd.DataFrame) -> pd.DataFrame:
    """What the published models lose abroad, a row a level: ``sister.published_drops``."""
    lost = {level: _signed(drop) for level, drop in zip(drops["level"], drops["published_drop"], strict=True)}
    return two_columns(lost, "published", "AUROC lost abroad")


def show_agreement(agreement: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation and losses abroad, a row a published level; what is not comparable says why.

    Args:
        agreement: From ``sister.agreement``.
    """
    ours = [
        "" if pd.isna(row["architecture"]) else f"{row['architecture']}, {level_of(row['target_epsilon'])}"
        for row in agreement.to_dict("records")
    ]
    return pd.DataFrame(
        {
            "published": agreement["level"],
            "ours": ours,
            "hospitals in both": agreement["n_hospitals"],
            "rank correlation": agreement["rank_correlation"].astype(float).map(show_number),
            "p": agreement["p"].astype(float).map(show_p),
            "lost abroad, published": agreement["published_drop"].astype(float).map(_signed),
            "lost abroad, ours": agreement["our_drop"].astype(float).map(_signed),
            "note": agreement["reason"].fillna(""),
        }
    ).set_index(["published", "ours"])


def agreement_in_words(agreement: pd.DataFrame) -> str:
    """Whether anything is comparable, and in how many comparisons the order of cells agrees beyond chance."""
    if not agreement["n_hospitals"].any():
        return "Nothing is comparable: no hospital of this study is one of theirs. The published numbers stand alone."
    ranked = agreement.dropna(subset="p")
    if ranked.empty:
        return "Some hospitals are the same, but too few or too incomplete to rank; the notes say which."
    agree = int((holm(ranked["p"].astype(float)) <= LEVEL).sum())
    return (
        f"In {agree} of {len(ranked)} comparisons that can be ranked, our cells have the order of theirs beyond chance "
        "(Holm)."
    )


def printed_twice(published: pd.DataFrame) -> str:
    """The cells that the authors print with two values."""
    twice = published.dropna(subset="other_reading")
    parts = [
        f"{row['train_dataset']} tested on {row['dataset']} at {row['level']}: {row['auroc']:.2f} in the matrix, "
        f"{row['other_reading']:.2f} elsewhere"
        for row in twice.to_dict("records")
    ]
    return f"Printed twice, with two values: {'; '.join(parts)}." if parts else "No cell is printed twice."


def _signed(value: float) -> str:
    return show_number(value, "+.3f")
