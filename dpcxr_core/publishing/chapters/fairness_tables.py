"""Tables about groups of patients as readers see them, with small counts suppressed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dpcxr_core.evaluation.comparing.gaps import GAP_NAME
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.comparing.seeds import OTHER_SEED
from dpcxr_core.evaluation.small_counts import TELLS_A_COUNT, hidden_counts, without_small_cells
from dpcxr_core.publishing.disclosing.small_cells import WITHHELD
from dpcxr_core.publishing.results import level_name, level_names, metric_name
from dpcxr_core.publishing.tables import of_metric, show_number, show_p, wide, with_intervals, with_seeds_where_known

MAX_MIN_GAPS = (
    "auroc_range",
    "tpr_difference",
    "fpr_difference",
    "equalized_odds_difference",
    "equalized_odds_difference_mean",
    "ppv_difference",
    "selection_rate_difference",
    "calibration_in_the_large_difference",
)


def group_sizes(metrics: pd.DataFrame, dataset: str, finding: str) -> pd.DataFrame:
    """Images, positives and prevalence of every group of ``dataset``; withheld as ``hidden_counts`` says.

    Args:
        metrics: METRICS of one run. For "macro", positives are those of the rarest finding and prevalence is the mean;
            they are withheld where those of any finding are.
        dataset: A test set.
        finding: A finding, or "macro".
    """
    # not of the mean itself: the rarest finding may be another in each group, and such positives add up to nothing
    findings = sorted({*metrics["finding"]} - {MACRO}) if finding == MACRO else [finding]
    hidden = [hidden_counts(of_metric(metrics, dataset, ["prevalence"], each)) for each in findings]
    no_images, no_positives = (np.any([each[name] for each in hidden], axis=0) for name in ("images", "positives"))
    rows = without_small_cells(of_metric(metrics, dataset, ["prevalence"], finding))
    return pd.DataFrame(
        {
            "by": rows["group_column"].str.replace("_", " "),
            "group": rows["group_value"],
            "images": np.where(no_images, WITHHELD, rows["n"].map("{:,}".format)),
            "positive images": np.where(no_positives, WITHHELD, rows["n_positive"].map("{:,}".format)),
            "prevalence": np.where(no_positives, WITHHELD, with_intervals(rows)),
            "note": rows["reason"].str.replace("_", " "),
        }
    ).set_index(["by", "group"])


def show_noise_floors(floors: pd.DataFrame) -> pd.DataFrame:
    """The max-min gap of AUROC that chance makes: mean and, in brackets, 95th percentile; a column a finding."""
    shown = floors.assign(
        cell=[
            row["reason"] if pd.isna(row["expected"]) else f"{row['expected']:.3f} ({row['percentile_95']:.3f})"
            for row in floors.to_dict("records")
        ],
        by=floors["group_column"].str.replace("_", " "),
    )
    return wide(shown, ["by"], "finding").rename(columns=lambda finding: finding.replace("_", " "))


def show_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Gaps in words: one row a condition, one column a gap, with the envelope of the seeds' intervals."""
    by = " by " + table["group_column"].str.replace("_", " ")
    named = table.assign(
        gap=table["metric"].map(metric_name) + ", " + table["group_value"] + by,
        level=level_names(table),
        cell=with_intervals(table, "+.3f"),
    )
    return _by_condition(named, "gap")


def show_worst_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The group with the smallest AUROC, by name: one row a condition, one column a group column.

    Args:
        table: Conditions, as ``tables.conditions`` makes them, of "worst_group_auroc".
    """
    named = table.assign(
        by=table["group_column"].str.replace("_", " "),
        level=level_names(table),
        cell=[
            f"{cell} ({_worst(reason)})" for cell, reason in zip(with_intervals(table), table["reason"], strict=True)
        ],
    )
    return _by_condition(named, "by")


def _worst(reason: str) -> str:
    """The groups that a reason of ``gaps.worst_group_rows`` begins with, each once, where seeds have several."""
    return " or ".join(dict.fromkeys(each.partition("; ")[0] for each in reason.split(OTHER_SEED)))


def show_rates(table: pd.DataFrame) -> pd.DataFrame:
    """One metric of every group: one row a condition, one column a group, and what was held still, if anything.

    Args:
        table: Conditions, as ``tables.conditions`` makes them; what may not be shown says "withheld".
    """
    held_still = table["group_column"].str.extract("( .*)")[0].fillna("")
    named = table.assign(group=table["group_value"] + held_still, level=level_names(table))
    named["cell"] = np.where(table["reason"] == TELLS_A_COUNT, WITHHELD, with_intervals(table))
    return _by_condition(named, "group")


def show_tests(tests: pd.DataFrame, runs: pd.DataFrame, finding: str) -> pd.DataFrame:
    """Permutation tests of one finding's gaps in words; p is adjusted within the whole family, of all findings."""
    rows = tests[tests["finding"] == finding].merge(runs[["run_id", "target_epsilon", "kind"]], on="run_id")
    return pd.DataFrame(
        {
            "level": level_names(rows),
            "gap": rows["metric"].map(metric_name) + ", " + rows["group_value"],
            "by": rows["group_column"].str.replace("_", " "),
            "value": rows["value"].map(_signed),
            "p": rows["p"].map(show_p),
            "p, adjusted": rows["p_adjusted"].map(show_p),
        }
    ).set_index(["level", "by", "gap"])


def show_movements(contrasts: pd.DataFrame) -> pd.DataFrame:
    """Differences of gaps in words: one row an initialisation, level and gap, with interval and adjusted p.

    Args:
        contrasts: ``gaps_moved_by_privacy`` or ``movements_changed_by_initialisation``.
    """
    gaps = {"gap without privacy": "gap_without", "gap with privacy": "gap_with"}
    shown = {
        "initialisation": contrasts["init_label"],
        "level": contrasts["target_epsilon"].map(level_name),
        "gap": contrasts["minuend"] + " minus " + contrasts["subtrahend"],
        **{words: contrasts[name].map(_signed) for words, name in gaps.items() if name in contrasts},
        "difference": with_intervals(with_seeds_where_known(contrasts), "+.3f"),
        "p, adjusted": contrasts["p_adjusted"].map(show_p),
    }
    return pd.DataFrame(shown).set_index(["initialisation", "level", "gap"])


def show_published(beside: pd.DataFrame, finding: str) -> pd.DataFrame:
    """One finding's gaps as published beside ours, with our interval and noise floor."""
    rows = beside[(beside["finding"] == finding) & (beside["group_value"] == GAP_NAME)]
    ours = rows.assign(low=rows["our_low"], high=rows["our_high"])
    hidden = rows["reason"] == TELLS_A_COUNT
    return pd.DataFrame(
        {
            "gap": rows["metric"].map(metric_name),
            "by": rows["group_column"].str.replace("_", " "),
            "as published": np.where(hidden, WITHHELD, rows["as_published"].map(show_number)),
            "here": np.where(hidden, WITHHELD, with_intervals(ours)),
            "expected with no true difference": rows["noise_floor"].map(show_number),
        }
    ).set_index(["gap", "by"])


def _signed(value: float) -> str:
    return show_number(value, "+.3f")


def _by_condition(named: pd.DataFrame, columns: str) -> pd.DataFrame:
    """The column ``cell``, one row a condition, in the order of ``named``."""
    return wide(named, ["init_label", "level"], columns).rename_axis(["initialisation", "level"])
