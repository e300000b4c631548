"""Axes to draw on, and small results made up: of a comparison, of hospitals abroad, for the explorers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.policies import CODE, LabelPolicy
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.transfer.abroad import CASE_MIX, OPERATING_POINTS, PREVALENCE, TOPICS
from dpcxr_core.evaluation.transfer.case_mix import PARTS
from dpcxr_core.evaluation.transfer.drop import ALL_ABROAD
from dpcxr_core.evaluation.transfer.interval_table import interval_table
from dpcxr_core.evaluation.transfer.one_half import beside_one_half
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.explorers.live_answers import Material, Question
from dpcxr_core.publishing.results import RUN_COLUMNS
from dpcxr_core.study.transferring import Abroad

LABELS = ("random", "non-domain supervised (stand-in)", "domain supervised (stand-in)")
FINDING = "pleural_effusion"
LEVELS = {1.0: 0.05, 8.0: 0.02, math.nan: 0.0}  # AUROC lost to privacy
AGES = ("0-39", "40-69", "70+")
GROUPS = {
    "all": ("all",),
    "sex": ("F", "M"),
    "age_band": AGES,
    "sex_and_age": tuple(f"{sex}, {age}" for sex in "FM" for age in AGES),
    "view": ("AP", "PA"),
}
CONTRASTS = {"sex": "F-M", "age_band": "70+ - 0-39", "sex_and_age": "F, 70+ - M, 0-39", "view": "AP-PA"}
TO_A_THOUSANDTH = 0.00051  # as the packed explorer holds numbers: half of the last digit, and a little
GROUP_METRICS = ("auroc", "auprc", "tpr", "fpr", "ppv", "npv", "f1", "selection_rate", "brier", "ece")
GROUP_METRICS += ("calibration_slope", "calibration_in_the_large", "prevalence")
SHIFTS = {"calibration_slope": 0.5, "calibration_in_the_large": -1.0}  # they leave the range from 0 to 1
GAPS = ("auroc_range", "tpr_difference", "fpr_difference", "equalized_odds_difference", "ppv_difference")
GAPS += ("selection_rate_difference", "ece_difference", "calibration_in_the_large_difference")
GAPS += ("equalized_odds_difference_mean",)
NOT_EXPLORED = ("prevalence", "equalized_odds_difference_mean")
CODES = {"1.0": 1.0, "0.0": 0.0, "-1.0": 0.0}
U_ZERO = LabelPolicy("u_zero", dict.fromkeys(FINDINGS, CODES))
U_ONE = LabelPolicy("u_one", dict.fromkeys(FINDINGS, {**CODES, "-1.0": 1.0}))
AP_OUT = LabelPolicy("without", dict.fromkeys(FINDINGS, CODES), left_out_code="-1.0", left_out_labels=("pneumonia",))
QUESTION = Question(
    run="one",
    dataset="hospital_a",
    finding="pneumonia",
    metric="auroc",
    column="sex",
    age_band_edges=(0, 40, 70, 120),
    policy="",
    threshold_rule="youden",
    fixed_tpr=0.9,
    decision_threshold=0.5,
)


def _metric(run_id: str, dataset: str, metric: str, column: str, group: str, value: float) -> dict:
    return {
        "run_id": run_id,
        "dataset": dataset,
        "finding": "macro",
        "metric": metric,
        "group_column": column,
        "group_value": group,
        "n": 1000,
        "n_positive": 200,
        "value": value,
        "low": value - 0.02,
        "high": value + 0.02,
        "noise_floor": 0.01 if group == "max-min" else math.nan,
        "reason": "",
    }


def _metrics_of(run_id: str, dataset: str, auroc: float) -> list[dict]:
    groups = [("all", "all", 0.0), ("sex", "F", -0.01), ("sex", "M", 0.01)]
    groups += [("age_band", "0-39", 0.02), ("age_band", "40-69", 0.0), ("age_band", "70+", -0.03)]
    rows = [_metric(run_id, dataset, "auroc", c, g, auroc + shift) for c, g, shift in groups]
    return [
        *rows,
        _metric(run_id, dataset, "auroc_difference", "sex", "F-M", -0.02),
        _metric(run_id, dataset, "auroc_difference", "age_band", "70+ - 0-39", -0.05),
        _metric(run_id, dataset, "tpr_difference", "sex", "max-min", 0.04),
        _metric(run_id, dataset, "equalized_odds_difference", "age_band", "max-min", 0.09),
    ]


@pytest.fixture(autouse=True)
def _options_of_pandas() -> Iterator[None]:
    """As they were, when the test is over: the house style sets one for the whole process."""
    with pd.option_context("display.max_colwidth", pd.get_option("display.max_colwidth")):
        yield


@pytest.fixture
def ax() -> Iterator[plt.Axes]:
    """Axes in the house style; what cannot be laid out fails when the test is over."""
    with matplotlib.rc_context():
        figures.use_house_style()
        figure, ax = plt.subplots()
        yield ax
        figure.canvas.draw()
        plt.close("all")


@pytest.fixture
def results() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A metrics table and its runs table."""
    runs, metrics = [], []
    for position, label in enumerate(LABELS):
        for epsilon, loss in LEVELS.items():
            for seed in (0, 1):
                private = not math.isnan(epsilon)
                run_id = f"{position}-{epsilon}-{seed}"
                kind = "private" if private else "non_private"
                spent = epsilon - 0.01
                unit = "image" if private else None
                runs.append(("hospital_a", "net", label, unit, epsilon, kind, run_id, f"net.{position}", seed, spent))
                for dataset, shift in (("hospital_a", 0.0), ("hospital_b", -0.03)):
                    auroc = 0.75 + 0.06 * position - loss * (3 - position) + 0.01 * seed + shift
                    metrics += _metrics_of(run_id, dataset, auroc)
    runs.append(("public", "net", LABELS[2], None, math.nan, "public_only", "public", "net.2", 0, math.nan))
    for dataset in ("hospital_a", "hospital_b"):
        metrics += _metrics_of("public", dataset, 0.86)
    return pd.DataFrame(metrics), pd.DataFrame(runs, columns=RUN_COLUMNS)


def make_runs(labels=LABELS, epsilons=(1.0, 8.0), n_seeds=2, trains=("hospital_a",), units=("image",)):
    """A runs table: for each initialisation the epsilons by unit, without privacy, and one public-only model."""
    rows = []
    for train, label in itertools.product(trains, labels):
        levels = [*itertools.product(epsilons, units), (math.nan, None)]
        for (epsilon, unit), seed in itertools.product(levels, range(n_seeds)):
            kind = "non_private" if unit is None else "private"
            rows.append((train, "net", label, unit, epsilon, epsilon - 0.01, seed, kind))
    rows.append((trains[0], "net", labels[-1], None, math.nan, math.nan, 0, "public_only"))
    columns = ["train_dataset", "architecture", "init_label", "privacy_unit", "target_epsilon", "epsilon_spent"]
    runs = pd.DataFrame(rows, columns=[*columns, "seed", "kind"])
    return runs.assign(init_name="net", run_id=[f"run-{i}" for i in range(len(runs))])


def make_metrics(runs, tests=("hospital_a", "hospital_b"), findings=("pneumonia", MACRO), seed=0):
    """A METRICS table of those runs, values drawn as sampling noise would: alike between runs on the same patients."""
    groups = [(column, group) for column, names in GROUPS.items() for group in names]
    named = [(metric, *group) for metric in GROUP_METRICS for group in groups]
    gaps = [(gap, column, "max-min") for gap in GAPS for column in CONTRASTS]
    gaps += [("auroc_difference", column, contrast) for column, contrast in CONTRASTS.items()]
    slots = pd.DataFrame([*named, *gaps], columns=["metric", "group_column", "group_value"])
    cells = pd.MultiIndex.from_product(
        [runs["run_id"], tests, findings, range(len(slots))], names=["run_id", "dataset", "finding", "slot"]
    ).to_frame(index=False)
    rng = np.random.default_rng(seed)
    shape = (len(runs), len(tests), len(findings), len(slots))
    is_gap = np.arange(len(slots)) >= len(named)
    patients, model = rng.normal(0, 0.04, (1, *shape[1:])), rng.normal(0, 0.05, (*shape[:3], 1))
    value = np.clip(0.75 - 0.7 * is_gap + (model + patients + rng.normal(0, 0.015, shape)) * (1 - 0.7 * is_gap), 0, 1)
    value = value + slots["metric"].map(SHIFTS).fillna(0).to_numpy()
    half = rng.uniform(0.01, 0.06, (1, *shape[1:])) * rng.normal(1, 0.06, shape).clip(0.5)
    table = cells.join(slots, on="slot").drop(columns="slot")
    floor = np.where(is_gap, 0.03, np.nan) * np.ones(shape)
    return table.assign(
        n=1000, n_positive=200, value=value.ravel(), low=(value - half).ravel(), high=(value + half).ravel(),
        noise_floor=floor.ravel(), reason="",
    )  # fmt: skip


def make_material(n=1500, valid=True, seed=0):
    """A run on one hospital that keeps its codes: validation images of the same, half as many."""
    rng = np.random.default_rng(seed)
    total = n + n // 2
    codes = rng.choice(["1.0", "0.0", "-1.0"], p=[0.25, 0.65, 0.1], size=(total, len(FINDINGS)))
    labels = (codes == "1.0").astype(float)
    cohort = pd.DataFrame(
        {
            "dataset": "hospital_a",
            "image_id": [f"image-{i:05d}" for i in range(total)],
            "patient_id": [f"patient-{i // 2:05d}" for i in range(total)],
            "split": np.where(np.arange(total) < n, "test", "valid"),
            "view": rng.choice(["PA", "AP"], total),
            "sex": np.repeat(rng.choice(["F", "M"], total // 2 + 1), 2)[:total],
            "age_years": np.repeat(rng.uniform(1, 95, total // 2 + 1), 2)[:total].round(),
            "path": None,
            **dict(zip(FINDINGS, labels.T, strict=True)),
            **{CODE + finding: code for finding, code in zip(FINDINGS, codes.T, strict=True)},
            "insurance": rng.choice(["public", "private"], total),
            "note": [f"text {i}" for i in range(total)],
        }
    )
    y_score = 1 / (1 + np.exp(-(1.2 * labels - 0.6 + rng.normal(size=labels.shape))))
    scores = cohort[["dataset", "image_id", "patient_id"]].loc[cohort.index.repeat(len(FINDINGS))]
    scores = scores.assign(
        run_id="run-1", finding=list(FINDINGS) * total, y_true=labels.ravel(), y_score=y_score.ravel()
    )[["run_id", "dataset", "image_id", "patient_id", "finding", "y_true", "y_score"]]
    is_test = scores["image_id"].isin(cohort.loc[cohort["split"] == "test", "image_id"])
    tables = scores[is_test], scores[~is_test] if valid else scores[:0]
    policies = {"hospital_a": {policy.name: policy for policy in (U_ZERO, U_ONE, AP_OUT)}}
    return Material(["one"], ["hospital_a"], {"one": tables}.__getitem__, cohort, policies)


def draws_around(value, n_seeds=2):
    return value + 0.01 * np.vstack([np.zeros(n_seeds), np.random.default_rng(0).normal(size=(60, n_seeds))]).T


def an_abroad(hospitals=("b", "c")) -> Abroad:
    """Positives of c score lower and negatives higher than at home; b is as home."""
    keys = {
        OPERATING_POINTS: [
            *((where, metric) for where in ("at home", "transported", "re-tuned") for metric in ("tpr", "fpr")),
            ("at the FPR of home", "tpr"),
            ("not got back by re-tuning", "youden_index"),
            ("lost to the operating point", "youden_index"),
        ],
        PREVALENCE: [
            *(("prevalence", part) for part in ("at home", "abroad")),
            *(("ppv", part) for part in ("at home", "from prevalence", "left over", "abroad")),
        ],
        CASE_MIX: [(part,) for part in PARTS],
    }
    columns = {topic: ("dataset", "finding", *names) for topic, names in TOPICS.items()}
    tables = {
        topic: interval_table(
            {
                (name, finding, *key): draws_around(0.1 * (1 + place))
                for name in hospitals
                for finding in (FINDING, "macro")
                for place, key in enumerate(keys[topic])
            },
            columns[topic],
        )
        for topic in keys
    }
    moved = {("b", "positives"): 0.5, ("b", "negatives"): 0.5, ("c", "positives"): 0.3, ("c", "negatives"): 0.7}
    apart = {(name, FINDING, among): draws_around(value) for (name, among), value in moved.items() if name in hospitals}
    tables["hospitals apart"] = beside_one_half(apart, columns["hospitals apart"], dict.fromkeys(apart, 50))
    return Abroad(tables, {(name, FINDING): 0.4 for name in hospitals}, {})


def some_drops() -> pd.DataFrame:
    rows = [
        {"dataset": name, "init_label": label, "kind": kind, "target_epsilon": epsilon, "value": value}
        for label, value in (("random", 0.08), ("domain", 0.03))
        for kind, epsilon in (("private", 8.0), ("non_private", math.nan))
        for name in ("b", "c", ALL_ABROAD)
    ]
    table = pd.DataFrame(rows)
    return table.assign(low=table["value"] - 0.02, high=table["value"] + 0.02, seed_sd=math.nan)


def some_contrasts(*rows: dict, **shared: object) -> pd.DataFrame:
    """Contrasts of cells as ``paired.table_over_seeds`` tables them, of two seeds, with an adjusted p."""
    regime = {"dataset": "north", "architecture": "small", "unit": "image", "fraction": 1.0, "target_epsilon": 8.0}
    found = {"value": 0.03, "p_adjusted": 0.01, "verdict": "better", "reason": ""}
    table = pd.DataFrame([{**regime, **found, **shared, **row} for row in rows])
    ends = {"low": -0.01, "high": 0.01, "low_with_seeds": -0.02, "high_with_seeds": 0.02}
    return table.assign(**{name: table["value"] + end for name, end in ends.items()}, n_seeds=2, seed_sd=0.001)
