"""What a private step may cost, beside what ``make bench`` found."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dpcxr_core.publishing.chapters.speed_tables import OURS, SpeedResults, comparisons, or_missing, step_costs

LARGEST_RATIO = 1.15  # of the time of a step with noise to the best step without privacy
LARGEST_MEMORY_RATIO = 1.5  # of memory above model and images to the ordinary step
LEAST_GAIN = 3.0  # of the time of the fastest correct method of Opacus to ours
LARGEST_PATIENT_RATIO = 1.3  # of the time of the patient unit to the image unit
LIMITED = (("convnext_tiny", 128), ("convnext_atto", 64))  # architectures and pixels whose time is limited


def limits(results: SpeedResults) -> pd.DataFrame:
    """``quantity setting n_settings limit least found kept``, a row a limit.

    ``limit`` is the most that is allowed, or with ``least`` the least. Time is judged in each setting of ``LIMITED``,
    memory there and in every other one that was measured; the rest in its worst setting of ``n_settings``. Where
    nothing was measured ``found`` is NaN and ``kept`` False.
    """
    costs = step_costs(results)
    private = costs[costs["method"] == OURS]
    named = pd.DataFrame(LIMITED, columns=["architecture", "size"]).merge(private, how="left")
    named["setting"] = named["setting"].fillna(named["architecture"] + ", " + named["size"].astype(str) + " px")
    others = private[~private["setting"].isin(named["setting"])].dropna(subset=["memory_ratio"])
    rows = [
        _row(quantity, limit, row["setting"], row[column])
        for quantity, limit, column, tables in (
            ("time over the best step without privacy", LARGEST_RATIO, "ratio", [named]),
            ("memory over the ordinary step", LARGEST_MEMORY_RATIO, "memory_ratio", [named, others]),
        )
        for table in tables
        for row in table.to_dict("records")
    ]
    beside = comparisons(results).set_index("setting")
    gain, patient = beside["opacus_over_ours"].dropna(), beside["patient_over_image"].dropna()
    rows.append(_worst("time of the fastest correct Opacus over ours", LEAST_GAIN, gain, least=True))
    rows.append(_worst("time of the patient unit over the image unit", LARGEST_PATIENT_RATIO, patient))
    return pd.DataFrame(rows)


def _worst(quantity: str, limit: float, ratios: pd.Series, *, least: bool = False) -> dict[str, object]:
    if ratios.empty:
        return _row(quantity, limit, "any", np.nan, least=least, n_settings=0)
    worst = str(ratios.idxmin() if least else ratios.idxmax())
    return _row(quantity, limit, worst, float(ratios[worst]), least=least, n_settings=len(ratios))


def _row(
    quantity: str, limit: float, setting: str, found: float, *, least: bool = False, n_settings: int = 1
) -> dict[str, object]:
    kept = found >= limit if least else found <= limit
    row = {"quantity": quantity, "setting": setting, "n_settings": n_settings, "limit": limit, "least": least}
    return row | {"found": found, "kept": bool(kept)}


def show_limits(table: pd.DataFrame) -> pd.DataFrame:
    """``limits`` in words, as limit, found and kept."""
    rows = table.to_dict("records")
    shown = {
        "setting": [
            f"{row['setting']} (worst of {row['n_settings']})" if row["n_settings"] > 1 else row["setting"]
            for row in rows
        ],
        "limit": [f"at {'least' if row['least'] else 'most'} {row['limit']:g}" for row in rows],
        "found": [or_missing(row["found"], ".3f") for row in rows],
        "kept": ["not measured" if np.isnan(row["found"]) else "yes" if row["kept"] else "no" for row in rows],
    }
    return pd.DataFrame(shown, index=pd.Index(table["quantity"], name="ratio"))


def kept_in_words(table: pd.DataFrame) -> str:
    """How many of ``limits`` are kept, and what was found of the others, in a sentence."""
    measured = table.dropna(subset=["found"])
    missed = [
        f"{row['quantity']} is {row['found']:.2f} instead of {row['limit']:g} ({row['setting']})"
        for row in measured[~measured["kept"]].to_dict("records")
    ]
    unknown = len(table) - len(measured)
    sentence = "All" if len(measured) == len(table) and not missed else f"{measured['kept'].sum()} of"
    sentence += f" {len(table)} limits are kept, {len(missed)} missed and {unknown} not measured."
    return sentence + (f" Missed: {'; '.join(missed)}." if missed else "")
