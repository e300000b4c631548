"""Tables of the transfer chapter as readers see them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dpcxr_core.evaluation.comparing.paired import verdict
from dpcxr_core.evaluation.transfer.abroad import APART, CASE_MIX, OPERATING_POINTS, PREVALENCE
from dpcxr_core.evaluation.transfer.conflicts import BELOW_ONE_HALF, LIKELY_CONFLICT
from dpcxr_core.evaluation.transfer.drop import ALL_ABROAD
from dpcxr_core.evaluation.transfer.shifts import NEGATIVES, POSITIVES, reading_of_shift
from dpcxr_core.evaluation.transfer.transported import (
    AT_HOME,
    AT_HOME_FPR,
    LOST_OPERATING_POINT,
    NOT_GOT_BACK,
    RETUNED,
    TRANSPORTED,
)
from dpcxr_core.publishing.results import level_name, level_names
from dpcxr_core.publishing.tables import show_number, show_p, wide, with_intervals
from dpcxr_core.study.transferring import Abroad

_VERDICTS = {"better": "loses more", "worse": "loses less", "not distinguishable": "not distinguishable"}


def over_hospitals(drops: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of the mean over hospitals, or of the only one, and its name.

    Args:
        drops: From ``drop.drops``, not empty.
    """
    means = drops[drops["dataset"] == ALL_ABROAD]
    if means.empty:
        return drops, str(drops["dataset"].iloc[0])
    return means, f"the mean of {drops['dataset'].nunique() - 1} hospitals"


def show_drops(drops: pd.DataFrame) -> pd.DataFrame:
    """AUROC lost abroad: a row a condition; the mean over hospitals with its interval, then each hospital's value."""
    table = drops.assign(
        initialisation=drops["init_label"],
        level=level_names(drops),
        cell=drops["value"].map(lambda value: show_number(value, "+.3f")),
    )
    rows = ["initialisation", "level"]
    shown = wide(table, rows, "dataset")
    if ALL_ABROAD in shown:
        mean = table[table["dataset"] == ALL_ABROAD].set_index(rows)
        del shown[ALL_ABROAD]
        shown.insert(0, "mean [95% interval]", pd.Series(with_intervals(mean, "+.3f"), index=mean.index))
        shown.insert(1, "between seeds (SD)", mean["seed_sd"].map(_spread))
    return shown


def show_moved(moved: pd.DataFrame) -> pd.DataFrame:
    """How much more a condition loses abroad than its counterpart, in words: a row a condition."""
    return pd.DataFrame(
        {
            "initialisation": moved["init_label"],
            "level": moved["target_epsilon"].map(level_name),
            "more lost abroad": with_intervals(moved, "+.3f"),
            "between seeds (SD)": moved["seed_sd"].map(_spread),
            "p (Holm)": moved["p_adjusted"].map(show_p),
            "verdict": [
                _VERDICTS[verdict(value, p)] for value, p in zip(moved["value"], moved["p_adjusted"], strict=True)
            ],
        }
    ).set_index(["initialisation", "level"])


def show_behind_local(behind: pd.DataFrame) -> pd.DataFrame:
    """Macro AUROC of the local model minus that of the model from elsewhere: a row a pair of hospitals."""
    return pd.DataFrame(
        {
            "tested on": behind["dataset"],
            "trained on": behind["train_dataset"],
            "local model better by": with_intervals(behind, "+.3f"),
            "p (Holm)": behind["p_adjusted"].map(show_p),
        }
    ).set_index(["tested on", "trained on"])


def show_conflicts(matrix: pd.DataFrame) -> pd.DataFrame:
    """The cells of a transfer matrix that lie below one half beyond chance: a row a cell."""
    noted = matrix[matrix["note"].isin([LIKELY_CONFLICT, BELOW_ONE_HALF])]
    return pd.DataFrame(
        {
            "trained on": noted["train_dataset"],
            "tested on": noted["dataset"],
            "finding": noted["finding"].str.replace("_", " "),
            "AUROC": with_intervals(noted),
            "p (Holm)": noted["p_adjusted"].map(show_p),
            "note": noted["note"],
        }
    ).set_index(["trained on", "tested on", "finding"])


def show_operating_points(abroad: Abroad, finding: str) -> pd.DataFrame:
    """TPR and FPR at home, abroad and re-tuned, and what is lost to the operating point and what is not got back."""
    table = abroad.tables[OPERATING_POINTS].query("finding == @finding")
    columns = {
        **{f"TPR, {where}": (where, "tpr") for where in (AT_HOME, TRANSPORTED, RETUNED, AT_HOME_FPR)},
        **{f"FPR, {where}": (where, "fpr") for where in (AT_HOME, TRANSPORTED, RETUNED)},
        **{where: (where, "youden_index") for where in (NOT_GOT_BACK, LOST_OPERATING_POINT)},
    }
    cells = table.set_index(["where", "metric", "dataset"])
    return _side_by_side(cells, columns, signed=(NOT_GOT_BACK, LOST_OPERATING_POINT))


def show_prevalence_shift(abroad: Abroad, finding: str) -> pd.DataFrame:
    """Prevalence and PPV at home and abroad, and how much of the change of PPV prevalence explains."""
    table = abroad.tables[PREVALENCE].query("finding == @finding")
    columns = {
        **{f"prevalence {part}": ("prevalence", part) for part in ("at home", "abroad")},
        "PPV at home": ("ppv", "at home"),
        "change of PPV from prevalence": ("ppv", "from prevalence"),
        "change of PPV left over": ("ppv", "left over"),
        "PPV abroad": ("ppv", "abroad"),
    }
    cells = table.set_index(["metric", "part", "dataset"])
    return _side_by_side(cells, columns, signed=("change of PPV from prevalence", "change of PPV left over"))


def show_hospitals_apart(abroad: Abroad, finding: str) -> pd.DataFrame:
    """How well the score tells each hospital from home within positives and within negatives, and what it hints at."""
    table = abroad.tables[APART].query("finding == @finding")
    cells = table.set_index(["among", "dataset"])
    shown = _side_by_side(cells, {f"among {name}": (name,) for name in (POSITIVES, NEGATIVES)})
    verdicts = {name: dict(each.set_index("dataset")["verdict"]) for name, each in table.groupby("among")}
    shown["hint"] = [reading_of_shift(verdicts[POSITIVES][name], verdicts[NEGATIVES][name]) for name in shown.index]
    return shown


def show_case_mix(abroad: Abroad, finding: str) -> pd.DataFrame:
    """AUROC at home, abroad and abroad at the case mix of home, of one finding or "macro": a row a hospital."""
    table = abroad.tables[CASE_MIX].query("finding == @finding")
    parts = ("at home", "abroad", "abroad, mix of home", "from case mix", "left over")
    cells = table.set_index(["part", "dataset"])
    shown = _side_by_side(cells, {part: (part,) for part in parts}, signed=parts[3:])
    least = {name: min(each for (there, _), each in abroad.covered.items() if there == name) for name in shown.index}
    shown["images at home with a counterpart"] = [f"{least[name]:.0%}" for name in shown.index]
    return shown


def _side_by_side(
    cells: pd.DataFrame, columns: Mapping[str, tuple[str, ...]], signed: tuple[str, ...] = ()
) -> pd.DataFrame:
    """A row a hospital, a column a key of ``cells``, whose last index level is the hospital."""
    hospitals = list(dict.fromkeys(cells.index.get_level_values("dataset")))
    shown = {}
    for name, key in columns.items():
        rows = cells.reindex([(*key, hospital) for hospital in hospitals])
        shown[name] = with_intervals(rows, "+.3f" if name in signed else ".3f")
    return pd.DataFrame(shown, index=pd.Index(hospitals, name="tested on"), columns=list(columns))


def _spread(seed_sd: float) -> str:
    return "one seed" if pd.isna(seed_sd) else f"{seed_sd:.3f}"
