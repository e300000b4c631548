"""One question to the scores of a run, answered at once: other thresholds, age bands, labels or groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from dpcxr_core.config import FINDINGS, EvaluationChoice, ThresholdRule, UserError
from dpcxr_core.data.policies import CODE, LabelPolicy, labelled_by
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.group_metrics import RATE_METRICS
from dpcxr_core.evaluation.groups import KNOWN_COLUMNS, MOST_GROUPS
from dpcxr_core.evaluation.small_counts import showable_metrics
from dpcxr_core.evaluation.thresholds import choose_thresholds
from dpcxr_core.publishing.disclosing.small_cells import shown_count
from dpcxr_core.publishing.explorers.explorer_axes import axes_of
from dpcxr_core.tables import COHORT

LIVE_RESAMPLES = 60
BY_HAND = "by_hand"


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a reader asks.

    Attributes:
        run: Name of a run in the material.
        dataset: Set tested on.
        finding: One of ``FINDINGS``, or "macro".
        metric: A metric of groups, such as "tpr".
        column: Group column, as in ``EvaluationChoice.group_columns``.
        age_band_edges: Lower ends of the age bands and, last, the oldest age believed, in years.
        policy: Name of a label policy; "" for the labels that the scores came with.
        threshold_rule: How decision thresholds are chosen on the source's validation images, or "by_hand".
        fixed_tpr: The TPR that "fixed_tpr" asks for.
        decision_threshold: The threshold of every finding where it is set by hand.
    """

    run: str
    dataset: str
    finding: str
    metric: str
    column: str
    age_band_edges: tuple[int, ...]
    policy: str
    threshold_rule: ThresholdRule | Literal["by_hand"]
    fixed_tpr: float
    decision_threshold: float


@dataclass(frozen=True, eq=False)
class Material:
    """What questions are answered from; it stays in the kernel.

    Attributes:
        runs: Names of the runs.
        datasets: Names of the sets tested on.
        scores_of: Takes a run's name; gives the SCORES table of its test images, and that of the validation images of
            the set trained on, which may be empty.
        cohort: COHORT rows of all images scored, with what other columns there are.
        policies: By data set, its label policies by name; a set without codes has none.
    """

    runs: Sequence[str]
    datasets: Sequence[str]
    scores_of: Callable[[str], tuple[pd.DataFrame, pd.DataFrame]]
    cohort: pd.DataFrame
    policies: Mapping[str, Mapping[str, LabelPolicy]]


def age_edges(text: str) -> tuple[int, ...]:
    """The age band edges that a reader typed, in years.

    Raises:
        UserError: They are not whole numbers with commas or blanks between them.

    Example:
        >>> age_edges("0, 18 65,120")
        (0, 18, 65, 120)
    """
    parts = text.replace(",", " ").split()
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"age bands are whole years such as 0, 40, 70, 120; got {text!r}")
    return tuple(map(int, parts))


def columns_to_group_by(cohort: pd.DataFrame) -> tuple[str, ...]:
    """The group columns always known, and those of a user's table that hold 2 to 20 texts."""
    own = [column for column in map(str, cohort) if column not in COHORT.columns and not column.startswith(CODE)]
    few = [column for column in own if 2 <= cohort[column].nunique() <= MOST_GROUPS]
    return (*KNOWN_COLUMNS, *(column for column in few if pd.api.types.is_string_dtype(cohort[column].dropna())))


def relabelled(scores: pd.DataFrame, cohort: pd.DataFrame, policy: LabelPolicy) -> pd.DataFrame:
    """``scores`` with the labels of ``policy``, without the images that it leaves out.

    Args:
        scores: SCORES table.
        cohort: COHORT rows of at least its images, with their codes.
        policy: What the codes mean.

    Raises:
        UserError: A code is not covered by the policy.
    """
    images = cohort[cohort["image_id"].isin(scores["image_id"].unique())]
    labelled = labelled_by(policy, images)
    labels = labelled.melt("image_id", list(FINDINGS), var_name="finding", value_name="y_true")
    joined = scores.drop(columns="y_true").merge(labels, on=["image_id", "finding"])
    return joined[list(scores.columns)]


def answer(material: Material, question: Question) -> dict[str, Any]:
    """The metric of every group, the gaps between them, and words: JSON values, aggregates of 10 or more only.

    Raises:
        UserError: As ``EvaluationChoice``, ``evaluate`` and ``relabelled``; or the metric needs a decision threshold
            and there is none.
    """
    by_hand = question.threshold_rule == BY_HAND
    choice = EvaluationChoice(
        n_resamples=LIVE_RESAMPLES,
        age_band_edges=question.age_band_edges,
        group_columns=(question.column,),
        threshold_rule="youden" if by_hand else question.threshold_rule,  # type: ignore[arg-type]
        fixed_tpr=question.fixed_tpr,
    )
    test, valid = material.scores_of(question.run)
    test = _asked_for(test[test["dataset"] == question.dataset], question, material)
    valid = _asked_for(valid, question, material)
    thresholds = dict.fromkeys(FINDINGS, question.decision_threshold) if by_hand else _thresholds(valid, choice)
    images = test["image_id"].unique()
    cohort = material.cohort[material.cohort["image_id"].isin(images)]
    table = showable_metrics(evaluate(test, cohort, choice, thresholds).metrics)
    table = table[table["finding"] == question.finding]
    if not thresholds and question.metric in RATE_METRICS:
        raise UserError(
            f"{question.metric} needs a decision threshold, and there are no validation images to choose it on. "
            "Set it by hand."
        )
    return {**_rows(table, question), "words": _words(len(images), question, thresholds)}


def _asked_for(scores: pd.DataFrame, question: Question, material: Material) -> pd.DataFrame:
    """The rows of the finding asked for, all findings for their mean, with the labels asked for."""
    if question.finding != MACRO:
        scores = scores[scores["finding"] == question.finding]
    parts = []
    for dataset, part in scores.groupby("dataset", sort=False):
        policy = material.policies.get(str(dataset), {}).get(question.policy)
        parts.append(part if policy is None else relabelled(part, material.cohort, policy))
    return pd.concat(parts) if parts else scores


def _thresholds(valid: pd.DataFrame, choice: EvaluationChoice) -> dict[str, float]:
    return choose_thresholds(valid, choice).values if len(valid) else {}


def _rows(table: pd.DataFrame, question: Question) -> dict[str, Any]:
    axes = axes_of(table, first_finding=MACRO)
    (metric,) = [one for one in axes.metrics if one["key"] == question.metric]
    groups, gaps = [], []
    for slot, row in zip(axes.slots_of(table), table.to_dict("records"), strict=True):
        shown = {name: _number(row[name]) for name in ("value", "low", "high")}
        estimate = {**shown, "floor": _number(row["noise_floor"]), "reason": row["reason"]}
        if row["metric"] == question.metric:
            label = "all patients" if row["group_column"] == "all" else axes.slots[slot]["label"]
            groups.append({"label": label, "estimate": estimate})
        elif row["metric"] in metric["gaps"]:
            gaps.append({"label": axes.slots[slot]["label"], "estimate": estimate})
    of = "macro " if question.finding == MACRO else f"{question.finding.replace('_', ' ')}: "
    how = {name: metric[name] for name in ("base", "reading")}
    return {"title": of + metric["label"], **how, "groups": groups, "gaps": gaps}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _words(n_images: int, question: Question, thresholds: Mapping[str, float]) -> str:
    start = f"{shown_count(n_images)} images of {question.dataset}, {LIVE_RESAMPLES} resamples of patients."
    if question.finding == MACRO:
        return start
    cut = thresholds.get(question.finding, np.nan)
    return f"{start} Decision threshold {cut:.3f}." if not np.isnan(cut) else f"{start} No decision threshold."
